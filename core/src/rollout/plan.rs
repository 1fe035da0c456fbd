//! The plan language: moves over a layout, their inverses, and the way back.
//!
//! A strategy is a function to a list of moves; the machine knows moves, not strategies. Each move has an inverse
//! against the layout before it, so that from any point the way back is the inverses of the taken moves, last first.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::service::Weights;
use crate::time::Span;

/// All traffic, in hundredths of a percent.
pub const FULL: u32 = 10_000;

/// What is asked of the world, as far as plans change it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "RolloutLayout")]
pub struct Layout {
    /// Processes by version; a version with none is absent.
    pub sizes: BTreeMap<String, u32>,
    /// Shares of traffic, in hundredths of a percent; they add up to 10,000, or there are none.
    pub weights: Weights,
    /// The version that counts as good.
    pub stable: Option<String>,
}

impl Layout {
    /// How many processes a version has; 0 when it is absent.
    pub fn size(&self, version: &str) -> u32 {
        self.sizes.get(version).copied().unwrap_or(0)
    }

    /// Folds a move in. Gates change nothing.
    pub fn apply(&mut self, step: &Move) {
        match step {
            Move::Scale { version, replicas: 0 } | Move::Retire { version } => {
                self.sizes.remove(version);
            }
            Move::Scale { version, replicas } => {
                self.sizes.insert(version.clone(), *replicas);
            }
            Move::Route { weights } => self.weights.clone_from(weights),
            Move::Promote { version } => self.stable.clone_from(version),
            Move::Gate { .. } => {}
        }
    }
}

/// One move of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[schemars(rename = "RolloutMove")]
pub enum Move {
    /// Gives a version this many processes. Inverse: the number before.
    Scale {
        /// The version.
        version: String,
        /// How many processes.
        replicas: u32,
    },
    /// Shares traffic out. Inverse: the shares before.
    Route {
        /// Shares in hundredths of a percent.
        weights: Weights,
    },
    /// Waits until something holds. Inverse: none.
    Gate {
        /// What is waited for.
        gate: Gate,
    },
    /// The version counts as good from here on. Inverse: the version before.
    Promote {
        /// The version; `None` takes the first release back.
        version: Option<String>,
    },
    /// Drains and ends all processes of a version that gets no traffic. Inverse: the number before.
    Retire {
        /// The version.
        version: String,
    },
}

/// What a plan waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[schemars(rename = "RolloutGate")]
pub enum Gate {
    /// So many processes of a version are ready.
    Health {
        /// The version.
        version: String,
        /// How many.
        replicas: u32,
    },
    /// The weights were in force, and every version that gets traffic was ready for its share, for this long.
    Pause {
        /// How long.
        span: Span,
    },
    /// As a pause, and the judge has not condemned the new version; a proof of safety opens it early.
    Analysis {
        /// How long at most.
        bake: Span,
    },
    /// Somebody promotes.
    Approval,
}

impl Move {
    /// The move that undoes this one when it is taken in `before`; `None` when there is nothing to undo.
    pub fn inverse(&self, before: &Layout) -> Option<Move> {
        match self {
            Move::Scale { version, .. } | Move::Retire { version } => {
                Some(Move::Scale { version: version.clone(), replicas: before.size(version) })
            }
            Move::Route { .. } => Some(Move::Route { weights: before.weights.clone() }),
            Move::Promote { .. } => Some(Move::Promote { version: before.stable.clone() }),
            Move::Gate { .. } => None,
        }
    }

    /// Whether the move asks something of the world.
    pub fn changes_world(&self) -> bool {
        matches!(self, Move::Scale { .. } | Move::Route { .. } | Move::Retire { .. })
    }
}

/// The moves that lead from where `taken` has led back to `start`.
///
/// The inverses are walked last first; of two that set the same thing the later one (the inverse of the earlier move)
/// supersedes. What is left is put in the order that keeps size before weight: versions that must grow again and
/// their readiness, then one change of weights, then who is stable, then what shrinks: at once what gets no traffic,
/// as it serves nobody and may be what keeps the old version from being ready; the rest once the old one is ready. As
/// long as the old version keeps its size, the first move back is the change of weights.
pub fn way_back(start: &Layout, taken: &[Move]) -> Vec<Move> {
    let mut now = start.clone();
    let mut inverses = Vec::new();
    for step in taken {
        inverses.extend(step.inverse(&now));
        now.apply(step);
    }
    let mut goal = now.clone();
    for inverse in inverses.iter().rev() {
        goal.apply(inverse);
    }

    let touched: BTreeSet<&String> = now.sizes.keys().chain(goal.sizes.keys()).collect();
    let mut back = Vec::new();
    for version in &touched {
        let replicas = goal.size(version);
        if replicas > now.size(version) {
            back.push(Move::Scale { version: (*version).clone(), replicas });
            back.push(Move::Gate { gate: Gate::Health { version: (*version).clone(), replicas } });
        }
    }
    if goal.weights != now.weights {
        back.push(Move::Route { weights: goal.weights.clone() });
    }
    if goal.stable != now.stable {
        back.push(Move::Promote { version: goal.stable.clone() });
    }
    let shrinks = |version: &&&String| goal.size(version) < now.size(version);
    let (serving, idle): (Vec<&String>, Vec<&String>) =
        touched.iter().filter(shrinks).partition(|version| now.weights.contains_key(**version));
    let scale = |version: &String| Move::Scale { version: version.clone(), replicas: goal.size(version) };
    back.extend(idle.into_iter().map(scale));
    // The old version must have shown that it serves as before; until then nothing that serves is given up.
    if let Some(stable) = goal.stable.as_ref().filter(|_| taken.iter().any(Move::changes_world)) {
        let replicas = goal.size(stable);
        back.push(Move::Gate { gate: Gate::Health { version: stable.clone(), replicas } });
    }
    back.extend(serving.into_iter().map(scale));
    back
}

/// How many of `full` processes serve a share of traffic: rounded up, so at least one for any share above zero.
pub fn replicas_for(full: u32, share: u32) -> u32 {
    let exact = u64::from(full) * u64::from(share.min(FULL));
    u32::try_from(exact.div_ceil(u64::from(FULL))).unwrap_or(full)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn layout(sizes: &[(&str, u32)], weights: &[(&str, u32)], stable: Option<&str>) -> Layout {
        Layout {
            sizes: sizes.iter().map(|(v, n)| ((*v).to_owned(), *n)).collect(),
            weights: weights.iter().map(|(v, n)| ((*v).to_owned(), *n)).collect(),
            stable: stable.map(str::to_owned),
        }
    }

    fn scale(version: &str, replicas: u32) -> Move {
        Move::Scale { version: version.to_owned(), replicas }
    }

    fn health(version: &str, replicas: u32) -> Move {
        Move::Gate { gate: Gate::Health { version: version.to_owned(), replicas } }
    }

    fn route(weights: &[(&str, u32)]) -> Move {
        Move::Route { weights: layout(&[], weights, None).weights }
    }

    #[test]
    fn the_way_back_is_one_change_of_weights_and_then_the_size() {
        let start = layout(&[("v1", 4)], &[("v1", 10_000)], Some("v1"));
        let taken = [
            scale("v2", 1),
            health("v2", 1),
            route(&[("v1", 9_000), ("v2", 1_000)]),
            scale("v2", 4),
            route(&[("v2", 10_000)]),
        ];
        assert_eq!(way_back(&start, &taken), [route(&[("v1", 10_000)]), health("v1", 4), scale("v2", 0)]);
    }

    #[test]
    fn what_never_got_traffic_goes_before_the_old_version_is_waited_for() {
        let start = layout(&[("v1", 2)], &[("v1", 10_000)], Some("v1"));
        assert_eq!(way_back(&start, &[scale("v2", 2), health("v2", 2)]), [scale("v2", 0), health("v1", 2)]);
    }

    #[test]
    fn what_was_retired_grows_before_it_gets_traffic() {
        let start = layout(&[("v1", 2)], &[("v1", 10_000)], Some("v1"));
        let taken = [
            scale("v2", 2),
            route(&[("v2", 10_000)]),
            Move::Promote { version: Some("v2".into()) },
            Move::Retire { version: "v1".into() },
        ];
        let back = way_back(&start, &taken);
        assert_eq!(
            back,
            [
                scale("v1", 2),
                health("v1", 2),
                route(&[("v1", 10_000)]),
                Move::Promote { version: Some("v1".into()) },
                health("v1", 2),
                scale("v2", 0),
            ]
        );
    }

    #[test]
    fn a_first_release_is_taken_back_to_nothing() {
        let taken = [scale("v1", 2), health("v1", 2), route(&[("v1", 10_000)])];
        assert_eq!(way_back(&Layout::default(), &taken), [route(&[]), scale("v1", 0)]);
        assert_eq!(way_back(&Layout::default(), &taken[..1]), [scale("v1", 0)]);
    }

    #[test]
    fn gates_alone_leave_nothing_to_undo() {
        let start = layout(&[("v1", 2)], &[("v1", 10_000)], Some("v1"));
        assert_eq!(way_back(&start, &[health("v1", 2)]), []);
    }

    #[test]
    fn shares_are_rounded_up_to_whole_processes() {
        let table =
            [(4, 1, 1), (4, 2_500, 1), (4, 2_501, 2), (4, 10_000, 4), (0, 10_000, 0), (u32::MAX, 10_000, u32::MAX)];
        for (full, share, replicas) in table {
            assert_eq!(replicas_for(full, share), replicas, "{full} at {share}");
        }
    }

    fn moves() -> impl Strategy<Value = Vec<Move>> {
        let version = || (0..3_u32).prop_map(|n| format!("v{n}"));
        let step = prop_oneof![
            (version(), 0..5_u32).prop_map(|(version, replicas)| Move::Scale { version, replicas }),
            (version(), version(), 0..=FULL).prop_map(|(a, b, share)| {
                let weights = Weights::from([(a.clone(), FULL), (b.clone(), FULL)]);
                let even = weights.into_keys().map(|v| {
                    (
                        v.clone(),
                        if a == b {
                            FULL
                        } else if v == a {
                            share
                        } else {
                            FULL - share
                        },
                    )
                });
                Move::Route { weights: even.filter(|(_, share)| *share > 0).collect() }
            }),
            version().prop_map(|version| Move::Promote { version: Some(version) }),
            version().prop_map(|version| Move::Retire { version }),
            Just(Move::Gate { gate: Gate::Approval }),
        ];
        prop::collection::vec(step, 0..12)
    }

    proptest! {
        #[test]
        fn the_way_back_leads_back_with_one_change_of_weights(before in moves(), taken in moves()) {
            let mut start = Layout::default();
            before.iter().for_each(|step| start.apply(step));
            let mut now = start.clone();
            taken.iter().for_each(|step| now.apply(step));
            let back = way_back(&start, &taken);
            let routes = back.iter().filter(|step| matches!(step, Move::Route { .. })).count();
            prop_assert!(routes <= 1);
            let mut routed = now.weights == start.weights;
            for step in &back {
                if let Move::Scale { version, replicas } = step {
                    prop_assert!(*replicas > now.size(version) || routed, "{version} shrinks before traffic is back");
                }
                routed |= matches!(step, Move::Route { .. });
                now.apply(step);
            }
            prop_assert_eq!(now, start);
        }
    }
}
