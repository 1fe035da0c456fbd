//! From a strategy to a plan: what each strategy means in moves.

use super::plan::{FULL, Gate, Layout, Move, replicas_for};
use super::terms::{Strategy, Terms};
use crate::service::Weights;

/// The moves that make `version` the stable one, starting from `start`.
///
/// Without a stable version it is a first release whatever the strategy: there is nothing to compare with and nobody
/// to share traffic with.
pub fn plan(terms: &Terms, start: &Layout, version: &str) -> Vec<Move> {
    let mut plan = Draft { moves: Vec::new(), layout: start.clone(), full: terms.full, version: version.to_owned() };
    match (&start.stable, &terms.strategy) {
        (None, _) => {
            plan.grow(FULL);
            plan.route_all();
            plan.promote();
        }
        (Some(stable), Strategy::Canary { steps, bake }) => {
            plan.gate(Gate::Health { version: stable.clone(), replicas: start.size(stable) });
            for share in steps {
                plan.grow(*share);
                plan.route(*share, stable);
                plan.gate(if terms.judges_at(*share) {
                    Gate::Analysis { bake: *bake }
                } else {
                    Gate::Pause { span: *bake }
                });
            }
            plan.grow(FULL);
            plan.approval(terms);
            plan.route_all();
            plan.promote();
        }
        (Some(stable), Strategy::BlueGreen { bake }) => {
            plan.gate(Gate::Health { version: stable.clone(), replicas: start.size(stable) });
            plan.grow(FULL);
            plan.approval(terms);
            plan.route_all();
            plan.gate(if terms.judges_at(FULL) { Gate::Analysis { bake: *bake } } else { Gate::Pause { span: *bake } });
            plan.promote();
        }
        // The present version may be the very reason, so nothing waits for it.
        (Some(stable), Strategy::Revert) => {
            // What a stuck rollout left may be what keeps the stable version from being ready.
            if stable == version && start.weights.keys().all(|routed| routed == version) {
                plan.retire_at_once();
            }
            plan.grow(FULL);
            plan.route_all();
            plan.promote();
        }
    }
    plan.retire_others(terms);
    plan.moves
}

/// A plan in the making, and the layout that it has led to.
struct Draft {
    moves: Vec<Move>,
    layout: Layout,
    full: u32,
    version: String,
}

impl Draft {
    fn push(&mut self, step: Move) {
        self.layout.apply(&step);
        self.moves.push(step);
    }

    fn gate(&mut self, gate: Gate) {
        if !matches!(gate, Gate::Pause { span } if span.0 == 0) {
            self.push(Move::Gate { gate });
        }
    }

    /// Enough processes for a share, ready; never fewer than there are.
    fn grow(&mut self, share: u32) {
        let replicas = replicas_for(self.full, share).max(self.layout.size(&self.version));
        if replicas > self.layout.size(&self.version) {
            self.push(Move::Scale { version: self.version.clone(), replicas });
        }
        let health = Move::Gate { gate: Gate::Health { version: self.version.clone(), replicas } };
        if !self.moves.contains(&health) {
            self.push(health);
        }
    }

    fn route(&mut self, share: u32, stable: &str) {
        let mut weights = Weights::new();
        weights.insert(self.version.clone(), share);
        if share < FULL {
            weights.insert(stable.to_owned(), FULL - share);
        }
        if weights != self.layout.weights {
            self.push(Move::Route { weights });
        }
    }

    fn route_all(&mut self) {
        let version = self.version.clone();
        self.route(FULL, &version);
    }

    fn approval(&mut self, terms: &Terms) {
        if terms.manual {
            self.gate(Gate::Approval);
        }
    }

    fn promote(&mut self) {
        if self.layout.stable.as_ref() != Some(&self.version) {
            self.push(Move::Promote { version: Some(self.version.clone()) });
        }
    }

    /// Everything but the new version goes, after a time in which the way back is still only a change of weights.
    fn retire_others(&mut self, terms: &Terms) {
        if self.layout.sizes.keys().any(|other| *other != self.version) {
            self.gate(Gate::Pause { span: terms.keep_old });
        }
        self.retire_at_once();
    }

    fn retire_at_once(&mut self) {
        let others: Vec<String> = self.layout.sizes.keys().filter(|other| **other != self.version).cloned().collect();
        for version in others {
            self.push(Move::Retire { version });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::explain::doing;
    use crate::rollout::spec::RolloutSpec;

    fn terms(json: &str) -> Terms {
        let spec: RolloutSpec = serde_json::from_str(json).unwrap();
        let mut faults = Vec::new();
        let terms = spec.check("", &mut faults);
        assert_eq!(faults, []);
        terms
    }

    fn moves(json: &str, start: &Layout) -> Vec<String> {
        plan(&terms(json), start, "v2").iter().map(doing).collect()
    }

    fn stable() -> Layout {
        Layout {
            sizes: [("v1".to_owned(), 4)].into(),
            weights: [("v1".to_owned(), FULL)].into(),
            stable: Some("v1".to_owned()),
        }
    }

    #[test]
    fn a_canary_grows_before_each_step_and_is_whole_before_all_traffic() {
        let json = r#"{"service": "shop", "serve": {"listen": "[::1]:0", "replicas": 4}, "judge": {}, "promote": "manual",
            "strategy": {"kind": "canary", "steps": [5, 25, 50], "bake": "2m"}}"#;
        assert_eq!(
            moves(json, &stable()),
            [
                "waiting for 4 ready of v1",
                "scaling v2 to 1",
                "waiting for 1 ready of v2",
                "routing v1 95 %, v2 5 %",
                "analysing for 2m",
                "routing v1 75 %, v2 25 %",
                "analysing for 2m",
                "scaling v2 to 2",
                "waiting for 2 ready of v2",
                "routing v1 50 %, v2 50 %",
                "analysing for 2m",
                "scaling v2 to 4",
                "waiting for 4 ready of v2",
                "waiting for a promotion",
                "routing v2 100 %",
                "promoting v2",
                "pausing for 30s",
                "retiring v1",
            ]
        );
    }

    #[test]
    fn blue_green_changes_all_traffic_once_and_bakes_with_the_old_one_warm() {
        let json = r#"{"service": "shop", "serve": {"listen": "[::1]:0", "replicas": 3}, "keep_old": "0s",
            "strategy": {"kind": "blue_green", "bake": "1m"}}"#;
        assert_eq!(
            moves(json, &stable()),
            [
                "waiting for 4 ready of v1",
                "scaling v2 to 3",
                "waiting for 3 ready of v2",
                "routing v2 100 %",
                "pausing for 1m",
                "promoting v2",
                "retiring v1",
            ]
        );
    }

    #[test]
    fn what_a_stuck_rollout_left_goes_before_the_stable_version_is_waited_for() {
        let json = r#"{"service": "shop", "serve": {"listen": "[::1]:0", "replicas": 2},
            "strategy": {"kind": "blue_green"}}"#;
        let mut terms = terms(json);
        terms.strategy = Strategy::Revert;
        let moves = |start: &Layout| -> Vec<String> { plan(&terms, start, "v2").iter().map(doing).collect() };
        let mut left = stable();
        left.stable = Some("v2".to_owned());
        left.weights = [("v2".to_owned(), FULL)].into();
        left.sizes.insert("v2".to_owned(), 2);
        assert_eq!(moves(&left), ["retiring v1", "waiting for 2 ready of v2"]);
        // While the other one gets traffic it stays until the stable one is ready.
        left.weights = [("v1".to_owned(), 5_000), ("v2".to_owned(), 5_000)].into();
        let expected = ["waiting for 2 ready of v2", "routing v2 100 %", "pausing for 30s", "retiring v1"];
        assert_eq!(moves(&left), expected);
    }

    #[test]
    fn a_first_release_has_nobody_to_be_compared_with() {
        let json = r#"{"service": "shop", "serve": {"listen": "[::1]:0", "replicas": 2}, "judge": {}, "promote": "manual",
            "strategy": {"kind": "canary", "steps": [5], "bake": "2m"}}"#;
        let expected = ["scaling v2 to 2", "waiting for 2 ready of v2", "routing v2 100 %", "promoting v2"];
        assert_eq!(moves(json, &Layout::default()), expected);
    }
}
