//! An outcome gives a step's value as that step's type.
use tidegate::{Outcome, Promoted, StepRef};

fn shipped(outcome: &Outcome, ship: &StepRef<Promoted>) -> tidegate::Result<String> {
    // mended: outcome.value(ship).map(|shipped| shipped.reason)
    outcome.value(ship)
}

fn main() {
    let _ = shipped;
}
