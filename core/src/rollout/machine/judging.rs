//! What the judge says, and what follows.

use super::advance::Draft;
use crate::analysis::{Blackout, Ending, Explanation, OnInconclusive, Sides, Verdict, WindowCounts};
use crate::rollout::event::{Cause, Pause, RolloutEvent};
use crate::rollout::plan::{Gate, Move};
use crate::service::Window;

impl Draft<'_> {
    /// Judges closed windows in their order, none twice; a list without any ends a bake whose time is over.
    pub(super) fn windows(&mut self, windows: &[Window]) {
        if windows.is_empty() {
            self.end_of_bake();
            return;
        }
        let mut ordered: Vec<&Window> = windows.iter().collect();
        ordered.sort_by_key(|window| window.number);
        for window in ordered {
            let new = self.state.judged.is_none_or(|judged| window.number > judged);
            let Some(counts) = self.counts(window).filter(|_| new) else { continue };
            let number = window.number;
            if counts.canary.routed() == 0 {
                continue;
            }
            if self.is_biased(window) || counts.is_lopsided() {
                self.push(RolloutEvent::WindowLeftOut { number });
                continue;
            }
            self.push(RolloutEvent::WindowJudged { number, epoch: window.epoch, counts });
            self.safety();
            self.harm();
        }
    }

    /// Holds the last readings against the blackout rule.
    pub(super) fn readings(&mut self, readings: &[Window]) {
        let Some(mut guard) = self.state.judge().and_then(Blackout::of) else { return };
        for reading in readings {
            let Some(counts) = self.counts(reading).filter(|_| !self.is_biased(reading)) else { continue };
            if let Some(alarm) = guard.fold(counts) {
                let former = self.state.former().unwrap_or_default();
                let sentence = alarm.sentence(self.state.version(), former);
                self.push(RolloutEvent::Verdict {
                    verdict: "blackout".to_owned(),
                    sentence: sentence.clone(),
                    explanation: None,
                });
                self.turn_back(Cause::Blackout, sentence);
                return;
            }
        }
    }

    /// Turns back when the evidence condemns the new version, whichever input it came with.
    pub(super) fn harm(&mut self) {
        let Some(judge) = self.state.judge() else { return };
        if matches!(judge.verdict(&self.state.evidence), Verdict::Harm { .. }) {
            let explanation = judge.explain(&self.state.evidence, &self.sides());
            let sentence = explanation.sentence.clone();
            self.verdict(explanation);
            self.turn_back(Cause::Harm, sentence);
        }
    }

    /// Opens an analysis early when the new version is proven safe.
    fn safety(&mut self) {
        let Some(judge) = self.state.judge().filter(|_| self.is_baking()) else { return };
        if matches!(judge.verdict(&self.state.evidence), Verdict::Safe { .. }) {
            let explanation = judge.explain(&self.state.evidence, &self.sides());
            self.verdict(explanation);
        }
    }

    fn end_of_bake(&mut self) {
        let Some(judge) = self.state.judge().filter(|_| self.is_baking() && self.state.paused.is_none()) else {
            return;
        };
        let Some(Move::Gate { gate: Gate::Analysis { bake } }) = self.state.step() else { return };
        if self.state.watched_for(self.now) < *bake {
            return;
        }
        let ending = judge.at_end(&self.state.evidence);
        let explanation = judge.explain_end(&self.state.evidence, &ending, &self.sides());
        let policy = judge.inconclusive;
        let sentence = explanation.sentence.clone();
        match ending {
            // `advance` turns back on it.
            Ending::Harm => {}
            Ending::Pass => self.verdict(explanation),
            Ending::Inconclusive { .. } => {
                self.verdict(explanation);
                match policy {
                    OnInconclusive::Pause => {
                        let reason = format!("the judge can't tell: {sentence}");
                        self.push(RolloutEvent::Paused { pause: Pause { by: None, reason } });
                    }
                    OnInconclusive::RollBack => self.turn_back(Cause::Inconclusive, sentence),
                    OnInconclusive::Pass => {
                        let reason = "inconclusive passes by the spec".to_owned();
                        self.push(RolloutEvent::GateOpened { by: "spec".to_owned(), reason });
                    }
                }
            }
        }
    }

    fn verdict(&mut self, explanation: Explanation) {
        self.push(RolloutEvent::Verdict {
            verdict: explanation.verdict.clone(),
            sentence: explanation.sentence.clone(),
            explanation: Some(Box::new(explanation)),
        });
    }

    /// Whether an analysis is under way whose clock runs and that nothing has opened.
    fn is_baking(&self) -> bool {
        let analysis = matches!(self.state.step(), Some(Move::Gate { gate: Gate::Analysis { .. } }));
        analysis && self.state.begun && !self.state.opened && self.state.held.is_none() && self.state.in_force()
    }

    fn sides(&self) -> Sides<'_> {
        Sides {
            canary: self.state.version(),
            stable: self.state.former().unwrap_or_default(),
            canary_replicas: Some(self.state.layout.size(self.state.version())),
        }
    }

    /// The counts of a window of this rollout in which both sides had a share that the judge can use.
    fn counts(&self, window: &Window) -> Option<WindowCounts> {
        let start = self.state.start.as_ref()?;
        let former = self.state.former()?;
        let judge = self.state.judge()?;
        let counts = WindowCounts::of(window, self.state.version(), former);
        let counts = if judge.abandoned.is_some() { counts } else { counts.without_abandoned() };
        (window.epoch > start.epoch && counts.share > 0).then_some(counts)
    }

    /// Whether the old version was not as assigned while the window was open.
    fn is_biased(&self, window: &Window) -> bool {
        let held = self.state.held.as_ref().is_some_and(|hold| hold.biased && window.to > hold.since);
        held || self.state.last_biased.is_some_and(|(from, to)| window.to > from && window.from < to)
    }
}
