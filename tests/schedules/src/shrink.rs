//! Makes a story that breaks a promise smaller, for as long as it breaks one.

use tidegate::simulate::{Nature, Person, Story};

/// The smallest story that is found by leaving one thing out at a time and that `breaks` still.
pub(crate) fn shrink(mut story: Story, breaks: impl Fn(&Story) -> bool) -> Story {
    loop {
        match smaller(&story).into_iter().find(|less| breaks(less)) {
            Some(less) => story = less,
            None => return story,
        }
    }
}

/// Every story with one thing less.
fn smaller(story: &Story) -> Vec<Story> {
    let mut all = Vec::new();
    let mut try_with = |change: &dyn Fn(&mut Story)| {
        let mut less = story.clone();
        change(&mut less);
        all.push(less);
    };
    for i in 0..story.faults.len() {
        try_with(&|less| {
            let _ = less.faults.remove(i);
        });
    }
    for name in story.natures.keys().filter(|name| story.natures[*name] != Nature::GOOD) {
        try_with(&|less| {
            let _ = less.natures.insert(name.clone(), Nature::GOOD);
        });
    }
    let Some(last) = story.chapters.len().checked_sub(1) else { return all };
    let chapter = &story.chapters[last];
    for i in 0..chapter.said.len() {
        try_with(&|less| {
            let _ = less.chapters[last].said.remove(i);
        });
    }
    for i in 0..chapter.losses.len() {
        try_with(&|less| {
            let _ = less.chapters[last].losses.remove(i);
        });
    }
    if chapter.person.answers.is_some() || chapter.person.promotes {
        try_with(&|less| less.chapters[last].person = Person::default());
    }
    for name in chapter.scripts.keys() {
        try_with(&|less| {
            let _ = less.chapters[last].scripts.remove(name);
        });
    }
    for (i, step) in chapter.pipeline.steps.iter().enumerate() {
        let needed = |other: &&tidegate::pipeline::StepSpec| other.inputs.contains(&step.name);
        if chapter.pipeline.steps.len() > 1 && chapter.pipeline.steps.iter().find(needed).is_none() {
            try_with(&|less| {
                let steps = &mut less.chapters[last].pipeline.steps;
                let name = steps.remove(i).name;
                for step in steps {
                    step.after.retain(|need| need.step != name);
                }
            });
        }
        for need in 0..step.after.len() {
            try_with(&|less| {
                let _ = less.chapters[last].pipeline.steps[i].after.remove(need);
            });
        }
        if step.retry.is_some() || step.timeout.is_some() || step.deadline.is_some() {
            try_with(&|less| {
                let step = &mut less.chapters[last].pipeline.steps[i];
                (step.retry, step.timeout, step.deadline) = (None, None, None);
            });
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use tidegate::simulate::{Fault, Point};

    use super::*;
    use crate::random::pipeline_story;

    /// A promise that the second append is never lost, and one that no step retries: the least that breaks both stays.
    #[test]
    fn only_what_breaks_the_promise_is_left() {
        let broken = |fault: &Fault| matches!(fault.at, Point::Append { n, .. } if n > 5);
        let breaks = |story: &Story| {
            story.faults.iter().any(broken) && story.chapters[0].pipeline.steps.iter().any(|step| step.retry.is_some())
        };
        let whole = (0..1_000)
            .map(pipeline_story)
            .find(|story| breaks(story) && story.faults.len() > 2 && story.chapters[0].pipeline.steps.len() > 4);
        let least = shrink(whole.unwrap(), breaks);
        assert!(breaks(&least));
        let chapter = &least.chapters[0];
        assert_eq!((least.faults.len(), chapter.pipeline.steps.len()), (1, 1), "{least:?}");
        assert!(chapter.scripts.is_empty() && chapter.pipeline.steps[0].after.is_empty(), "{least:?}");
    }
}
