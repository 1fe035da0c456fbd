//! What the judge says, and what follows.

use super::advance::Draft;
use crate::analysis::{Blackout, Ending, Explanation, OnInconclusive, Sides, Verdict, WindowCounts};
use crate::rollout::event::{Cause, Pause, RolloutEvent, WindowLatency};
use crate::rollout::plan::{Gate, Move};
use crate::service::{OVERDUE, Window};
use crate::time::{Span, Time};

impl Draft<'_> {
    /// Judges closed windows in their order, none twice.
    pub(super) fn windows(&mut self, windows: &[Window]) {
        let mut ordered: Vec<&Window> = windows.iter().collect();
        ordered.sort_by_key(|window| window.number);
        for window in ordered {
            let new = self.state.judged.is_none_or(|judged| window.number > judged) && self.state.judge().is_some();
            let Some(counts) = self.counts(window).filter(|_| new) else { continue };
            let number = window.number;
            if counts.canary.routed() == 0 {
                continue;
            }
            if self.is_biased(window) || counts.is_lopsided() || !counts.is_possible() {
                self.push(RolloutEvent::WindowLeftOut { number });
                continue;
            }
            let latency = WindowLatency::of(window, self.state.version(), self.state.former().unwrap_or_default());
            self.push(RolloutEvent::WindowJudged { number, epoch: window.epoch, counts, latency });
            self.safety();
            self.harm();
        }
    }

    /// Holds the last readings against the blackout rule.
    pub(super) fn readings(&mut self, readings: &[Window]) {
        let Some(mut guard) = self.state.guard().and_then(Blackout::of) else { return };
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

    /// Ends a bake whose time is over; all windows that ended before `settled` were told.
    pub(super) fn end_of_bake(&mut self, settled: Option<Time>) {
        let Some(judge) = self.state.judge().filter(|_| self.is_baking() && self.state.paused.is_none()) else {
            return;
        };
        let Some(Move::Gate { gate: Gate::Analysis { bake } }) = self.state.step() else { return };
        let Some(late) = self.state.watched_for(self.now).0.checked_sub(bake.0) else { return };
        let held_back = self.are_held_back(Span(late), settled);
        if held_back && self.is_last_bake() {
            return;
        }
        let ending = judge.at_end(&self.state.evidence);
        // What comes late is judged in the next bake, unless this one would end in a question or in a turn.
        if held_back && ending != Ending::Pass {
            return;
        }
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

    /// Whether windows of a bake that is over since `late` are still held back, because their requests have not ended: a
    /// version that hangs fails late. Waited for as long as a request may take, and no longer.
    fn are_held_back(&self, late: Span, settled: Option<Time>) -> bool {
        let Some(start) = &self.state.start else { return false };
        let longest = start.terms.serving.request_timeout.0.saturating_add(OVERDUE.0);
        let end = self.now.0.saturating_sub_unsigned(late.0);
        late.0 < longest && settled.is_some_and(|settled| settled.0 <= end)
    }

    /// Whether nothing is judged between this bake and promotion.
    fn is_last_bake(&self) -> bool {
        let later = self.state.moves.iter().skip(self.state.index + 1);
        !later.into_iter().any(|step| matches!(step, Move::Gate { gate: Gate::Analysis { .. } }))
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
        let counts = WindowCounts::of(window, self.state.version(), former);
        (window.epoch > start.epoch && counts.share > 0).then_some(counts)
    }

    /// Whether the old version was not as assigned while the window was open.
    fn is_biased(&self, window: &Window) -> bool {
        let held = self.state.held.as_ref().is_some_and(|hold| hold.biased && window.to > hold.since);
        held || self.state.last_biased.is_some_and(|(from, to)| window.to > from && window.from < to)
    }
}
