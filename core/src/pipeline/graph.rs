//! The graph of a pipeline's steps, by index in the order of their definition.

use std::collections::{BTreeMap, BTreeSet};

use crate::pipeline::spec::{PipelineSpec, When};

/// What a step waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// The index of the step that it waits for.
    pub step: usize,
    /// How that step must have ended.
    pub when: When,
    /// Whether its value is needed, so that it must really have succeeded.
    pub value: bool,
}

/// Who waits for whom. Building one never fails: names that are unknown are left out, and of steps with the same name
/// the first one counts; a checked spec has neither.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Graph {
    names: BTreeMap<String, usize>,
    needs: Vec<Vec<Need>>,
    dependents: Vec<Vec<(usize, Need)>>,
    inputs: Vec<Vec<usize>>,
    last: Vec<usize>,
}

impl Graph {
    /// The graph of a spec.
    pub fn new(spec: &PipelineSpec) -> Graph {
        let mut names = BTreeMap::new();
        for (i, step) in spec.steps.iter().enumerate() {
            names.entry(step.name.clone()).or_insert(i);
        }
        let mut graph = Graph {
            needs: Vec::with_capacity(spec.steps.len()),
            dependents: vec![Vec::new(); spec.steps.len()],
            inputs: Vec::with_capacity(spec.steps.len()),
            last: Vec::new(),
            names,
        };
        for (i, step) in spec.steps.iter().enumerate() {
            let mut needs: BTreeMap<(usize, u8), Need> = BTreeMap::new();
            let default = if step.cleanup { When::Done } else { When::Success };
            for need in &step.after {
                let Some(&on) = graph.names.get(&need.step) else { continue };
                let when = need.when.unwrap_or(default);
                needs.insert((on, when as u8), Need { step: on, when, value: false });
            }
            let inputs: Vec<usize> = step.inputs.iter().filter_map(|name| graph.names.get(name).copied()).collect();
            for &on in &inputs {
                needs.insert((on, When::Success as u8), Need { step: on, when: When::Success, value: true });
            }
            for need in needs.values() {
                if let Some(dependents) = graph.dependents.get_mut(need.step) {
                    dependents.push((i, *need));
                }
            }
            if step.cleanup && needs.is_empty() {
                graph.last.push(i);
            }
            graph.needs.push(needs.into_values().collect());
            graph.inputs.push(inputs);
        }
        graph
    }

    /// How many steps there are.
    pub fn len(&self) -> usize {
        self.needs.len()
    }

    /// Whether there are no steps.
    pub fn is_empty(&self) -> bool {
        self.needs.is_empty()
    }

    /// The index of a step.
    pub fn index(&self, name: &str) -> Option<usize> {
        self.names.get(name).copied()
    }

    /// The names of all steps, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(String::as_str)
    }

    /// What a step waits for; nothing for an index out of range.
    pub fn needs(&self, step: usize) -> &[Need] {
        self.needs.get(step).map_or(&[], Vec::as_slice)
    }

    /// Who waits for a step, and for what of it.
    pub fn dependents(&self, step: usize) -> &[(usize, Need)] {
        self.dependents.get(step).map_or(&[], Vec::as_slice)
    }

    /// The steps whose values a step is given, in its order.
    pub fn inputs(&self, step: usize) -> &[usize] {
        self.inputs.get(step).map_or(&[], Vec::as_slice)
    }

    /// Cleanup steps that name nothing: they run after every ordinary step.
    pub fn last(&self) -> &[usize] {
        &self.last
    }

    /// The steps by level: those of a level wait only for steps of levels before. Steps that are on a cycle, or wait
    /// for one, are left out.
    pub fn levels(&self) -> Vec<Vec<usize>> {
        let mut open: Vec<usize> = self.needs.iter().map(Vec::len).collect();
        let mut level: Vec<usize> = (0..self.len()).filter(|i| self.needs(*i).is_empty()).collect();
        let mut levels = Vec::new();
        while !level.is_empty() {
            let mut next = Vec::new();
            for &step in &level {
                for (dependent, _) in self.dependents(step) {
                    if let Some(open) = open.get_mut(*dependent) {
                        *open -= 1;
                        if *open == 0 {
                            next.push(*dependent);
                        }
                    }
                }
            }
            next.sort_unstable();
            levels.push(std::mem::replace(&mut level, next));
        }
        levels
    }

    /// All that waits for one of `steps`, directly or not, and `steps` themselves.
    pub fn closure(&self, steps: impl IntoIterator<Item = usize>) -> BTreeSet<usize> {
        let mut stack: Vec<usize> = steps.into_iter().collect();
        let mut seen = BTreeSet::new();
        while let Some(step) = stack.pop() {
            if seen.insert(step) {
                stack.extend(self.dependents(step).iter().map(|(dependent, _)| *dependent));
            }
        }
        seen
    }

    /// Up to `most` cycles that share no step. Each begins with its first step by definition; every step waits for the
    /// one that follows, and the last one for the first.
    pub fn cycles(&self, most: usize) -> Vec<Vec<usize>> {
        let sorted: BTreeSet<usize> = self.levels().into_iter().flatten().collect();
        let mut left: BTreeSet<usize> = (0..self.len()).filter(|i| !sorted.contains(i)).collect();
        let mut cycles = Vec::new();
        // Walk along needs from each step that is left. A walk that meets itself is a cycle; what was walked to no end
        // waits for a cycle that is already known.
        while let Some(start) = left.first().copied() {
            if cycles.len() >= most {
                break;
            }
            let mut path: Vec<usize> = Vec::new();
            let mut places: BTreeMap<usize, usize> = BTreeMap::new();
            let mut at = start;
            loop {
                if let Some(&place) = places.get(&at) {
                    let mut cycle = path.split_off(place);
                    let first = cycle.iter().enumerate().min_by_key(|(_, step)| **step).map_or(0, |(i, _)| i);
                    cycle.rotate_left(first);
                    for step in &cycle {
                        left.remove(step);
                    }
                    cycles.push(cycle);
                    break;
                }
                places.insert(at, path.len());
                path.push(at);
                match self.needs(at).iter().map(|need| need.step).find(|step| left.contains(step)) {
                    Some(next) => at = next,
                    None => {
                        // A dead end: it waits for a cycle that has been taken out. Go back one step.
                        left.remove(&at);
                        path.pop();
                        places.remove(&at);
                        match path.pop() {
                            Some(before) => {
                                places.remove(&before);
                                at = before;
                            }
                            None => break,
                        }
                    }
                }
            }
        }
        cycles
    }
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::pipeline::spec::{ActionSpec, NeedSpec, StepSpec};

    fn graph(steps: &[(&str, &[&str])]) -> Graph {
        let steps = steps
            .iter()
            .map(|(name, after)| {
                let mut step = StepSpec::new(*name, ActionSpec::Function { function: "f".into() });
                step.after = after.iter().map(|on| NeedSpec { step: (*on).into(), when: None }).collect();
                step
            })
            .collect();
        Graph::new(&PipelineSpec { name: "p".into(), steps, max_parallel: None, fail_fast: false })
    }

    #[test]
    fn names_every_cycle_in_order() {
        let found = graph(&[("x", &["b"]), ("a", &["b"]), ("b", &["c"]), ("c", &["a"]), ("d", &["d", "a"])]);
        assert_eq!(found.cycles(10), [vec![1, 2, 3], vec![4]]);
        assert_eq!(found.cycles(1), [vec![1, 2, 3]]);
        assert!(graph(&[("a", &[]), ("b", &["a"])]).cycles(10).is_empty());
    }

    #[test]
    fn closes_over_what_waits() {
        let found = graph(&[("a", &[]), ("b", &["a"]), ("c", &["b"]), ("d", &[])]);
        assert_eq!(found.closure([1]), BTreeSet::from([1, 2]));
    }
}
