//! A large definition, built and checked.

use std::time::Instant;

use tidegate::Pipeline;

use crate::steps;

/// Seconds for so many steps with three needs each.
pub(crate) fn check(count: usize) -> crate::Outcome {
    let started = Instant::now();
    let mut pipeline = Pipeline::new("bench");
    let names: Vec<String> = (0..count).map(steps::name).collect();
    for (i, name) in names.iter().enumerate() {
        let mut step = pipeline.command(name, ["true"]);
        for back in [1, 7, 100] {
            if let Some(need) = i.checked_sub(back) {
                step = step.after_named(&names[need]);
            }
        }
    }
    let checked = pipeline.parts().0.check()?;
    let took = started.elapsed();
    assert_eq!(checked.spec().steps.len(), count, "every step is in the plan");
    Ok(took.as_secs_f64())
}
