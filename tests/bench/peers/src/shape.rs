//! The graphs of the benchmarks. `tests/bench/ours/src/shape.rs` is the same.

use std::str::FromStr;

/// How steps wait for each other.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// Each for the one before.
    Chain,
    /// All but the last for nothing, and the last for all.
    Fan,
    /// 100 layers; each for three of the layer before.
    Layers,
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(name: &str) -> Result<Shape, String> {
        match name {
            "chain" => Ok(Shape::Chain),
            "fan" => Ok(Shape::Fan),
            "layers" => Ok(Shape::Layers),
            _ => Err(format!("no shape: {name}")),
        }
    }
}

impl Shape {
    /// What each of `steps` steps waits for: only such as come before it.
    pub fn needs(self, steps: usize) -> Vec<Vec<usize>> {
        let width = (steps / 100).max(3);
        let of = |i: usize| match self {
            Shape::Chain => (i > 0).then(|| i - 1).into_iter().collect(),
            Shape::Fan if i == steps - 1 => (0..i).collect(),
            Shape::Fan => Vec::new(),
            Shape::Layers if i < width => Vec::new(),
            Shape::Layers => {
                let first = (i / width - 1) * width;
                (0..3).map(|k| first + (i + k) % width).collect()
            }
        };
        (0..steps).map(of).collect()
    }
}
