//! Positive numbers beyond the range of an `f64`. Wealth that is kept so is multiplied, window by window, without a
//! logarithm.

use std::cmp::Ordering;

/// `mantissa` · 2^(512 · `steps`), with a mantissa from [`LOW`] to [`HIGH`]. Powers of two are exact.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scaled {
    mantissa: f64,
    steps: i64,
}

/// 2^-256.
const LOW: f64 = f64::from_bits((1023 - 256) << 52);
/// 2^256.
const HIGH: f64 = f64::from_bits((1023 + 256) << 52);
/// 2^512 and 2^-512.
const UP: f64 = HIGH * HIGH;
const DOWN: f64 = LOW * LOW;
/// How many numbers are multiplied side by side.
const LANES: usize = 4;
/// ln 2^512.
const STEP: f64 = 512.0 * std::f64::consts::LN_2;

impl Scaled {
    /// A positive and finite number.
    pub(super) fn new(number: f64) -> Scaled {
        let mut scaled = Scaled { mantissa: number, steps: 0 };
        scaled.normalise();
        scaled
    }

    /// Multiplies with a positive and finite number.
    pub(super) fn times(&mut self, factor: f64) {
        let product = self.mantissa * factor;
        if (LOW..=HIGH).contains(&product) {
            self.mantissa = product;
        } else {
            // Each in range, so that their product is in that of an `f64`.
            let factor = Scaled::new(factor);
            self.mantissa *= factor.mantissa;
            self.steps = self.steps.saturating_add(factor.steps);
            self.normalise();
        }
    }

    /// Multiplies with e^`log`, which is finite.
    pub(super) fn times_exp(&mut self, log: f64) {
        // Within what the steps can count.
        let mut rest = log.clamp(-1e21, 1e21);
        // More than once where the last bit of `log` is more than a step.
        while rest.abs() > STEP {
            let steps = (rest / STEP).round();
            self.steps = self.steps.saturating_add(steps as i64);
            rest -= steps * STEP;
        }
        self.times(libm::exp(rest));
    }

    /// ln of this over another.
    pub(super) fn log_over(self, other: Scaled) -> f64 {
        let steps = self.steps.saturating_sub(other.steps) as f64;
        libm::log(self.mantissa / other.mantissa) + steps * STEP
    }

    fn normalise(&mut self) {
        while self.mantissa > HIGH && self.mantissa.is_finite() {
            self.mantissa *= DOWN;
            self.steps = self.steps.saturating_add(1);
        }
        while self.mantissa < LOW && self.mantissa > 0.0 {
            self.mantissa *= UP;
            self.steps = self.steps.saturating_sub(1);
        }
    }
}

impl PartialOrd for Scaled {
    fn partial_cmp(&self, other: &Scaled) -> Option<Ordering> {
        match self.steps.saturating_sub(other.steps) {
            0 => self.mantissa.partial_cmp(&other.mantissa),
            1 => self.mantissa.partial_cmp(&(other.mantissa * DOWN)),
            -1 => (self.mantissa * DOWN).partial_cmp(&other.mantissa),
            steps => Some(steps.cmp(&0)),
        }
    }
}

/// Scaled numbers side by side, that are multiplied and added up together.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ScaledMany {
    mantissas: Vec<f64>,
    steps: Vec<i64>,
    /// The largest of the steps; the smallest there is when there are none.
    top: i64,
    /// What each mantissa counts for in a sum at the top: 1, 2^-512, or nothing when it is below the sum's last bit.
    weights: Vec<f64>,
}

impl ScaledMany {
    /// Positive and finite numbers.
    pub(super) fn new(numbers: impl IntoIterator<Item = f64>) -> ScaledMany {
        let (mantissas, steps) =
            numbers.into_iter().map(Scaled::new).map(|number| (number.mantissa, number.steps)).unzip();
        let mut many = ScaledMany { mantissas, steps, top: i64::MIN, weights: Vec::new() };
        many.weigh();
        many
    }

    /// Multiplies each with 1 + `bet` · `gain`, the bets between 0 and 1 and as many; a factor that is not positive
    /// and finite says nothing. Returns the sum.
    pub(super) fn bet(&mut self, bets: &[f64], gain: f64) -> Scaled {
        // Then every factor is positive, and no product leaves the range of an `f64`.
        if !(gain > -1.0 && gain < HIGH) {
            return self.each(bets, |number, bet| {
                let factor = 1.0 + bet * gain;
                if factor > 0.0 && factor.is_finite() {
                    number.times(factor);
                }
            });
        }
        // Side by side: one sum would wait for itself at each bet.
        let (mut least, mut most, mut sums) = ([HIGH; LANES], [LOW; LANES], [0.0; LANES]);
        let chunks = self.mantissas.chunks_mut(LANES).zip(bets.chunks(LANES)).zip(self.weights.chunks(LANES));
        for ((mantissas, bets), weights) in chunks {
            let lanes = least.iter_mut().zip(&mut most).zip(&mut sums);
            for (((mantissa, bet), weight), ((least, most), sum)) in
                mantissas.iter_mut().zip(bets).zip(weights).zip(lanes)
            {
                let product = *mantissa * (1.0 + bet * gain);
                *mantissa = product;
                *least = if product < *least { product } else { *least };
                *most = if product > *most { product } else { *most };
                *sum += product * weight;
            }
        }
        if least.iter().all(|least| *least >= LOW) && most.iter().all(|most| *most <= HIGH) {
            return self.at_top(sums.iter().sum());
        }
        self.each(bets, |number, _| number.normalise())
    }

    /// Multiplies each with e to what `log` makes of its point; finite. Returns the sum.
    pub(super) fn grow(&mut self, points: &[f64], log: impl Fn(f64) -> f64) -> Scaled {
        self.each(points, |number, point| number.times_exp(log(point)))
    }

    /// The sum; of nothing it is the smallest there is.
    pub(super) fn sum(&self) -> Scaled {
        self.at_top(self.mantissas.iter().zip(&self.weights).map(|(mantissa, weight)| mantissa * weight).sum())
    }

    fn at_top(&self, sum: f64) -> Scaled {
        let mut sum = Scaled { mantissa: sum, steps: self.top };
        sum.normalise();
        sum
    }

    fn each(&mut self, points: &[f64], change: impl Fn(&mut Scaled, f64)) -> Scaled {
        for ((mantissa, steps), point) in self.mantissas.iter_mut().zip(&mut self.steps).zip(points) {
            let mut number = Scaled { mantissa: *mantissa, steps: *steps };
            change(&mut number, *point);
            (*mantissa, *steps) = (number.mantissa, number.steps);
        }
        self.weigh();
        self.sum()
    }

    fn weigh(&mut self) {
        self.top = self.steps.iter().copied().max().unwrap_or(i64::MIN);
        let weight = |steps: &i64| match self.top.saturating_sub(*steps) {
            0 => 1.0,
            1 => DOWN,
            _ => 0.0,
        };
        self.weights = self.steps.iter().map(weight).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: fn() -> Scaled = || Scaled::new(1.0);

    #[test]
    fn factors_multiply_far_beyond_the_range_of_a_float() {
        for factor in [0.3, 0.999, 1.001, 7.0, 1e300, 1e-300, 5e-324, f64::MAX] {
            let mut number = ONE();
            for _ in 0..1_000 {
                number.times(factor);
            }
            let expected = 1_000.0 * libm::log(factor);
            assert!((number.log_over(ONE()) / expected - 1.0).abs() < 1e-12, "{factor}");
            // All the way back.
            for _ in 0..1_000 {
                number.times_exp(-libm::log(factor));
            }
            assert!(number.log_over(ONE()).abs() < 1e-7, "{factor}: {}", number.log_over(ONE()));
        }
    }

    #[test]
    fn sums_and_orders_across_steps() {
        let exp = |log: f64| {
            let mut number = ONE();
            number.times_exp(log);
            number
        };
        for (a, b) in [(0.0, 0.0), (300.0, -300.0), (178.0, 177.0), (-5_000.0, -5_001.0), (1e5, -1e5), (400.0, 390.0)] {
            let (top, rest) = (a, b - a);
            let expected = top + libm::log1p(libm::exp(rest));
            let sum = ScaledMany::new([1.0, 1.0]).grow(&[a, b], |log| log);
            assert!((sum.log_over(ONE()) - expected).abs() < 1e-9 * (1.0 + expected.abs()), "{a} {b}");
            assert_eq!(exp(a).partial_cmp(&exp(b)), a.partial_cmp(&b), "{a} {b}");
            assert_eq!(exp(b).partial_cmp(&exp(a)), b.partial_cmp(&a), "{a} {b}");
        }
        assert_eq!(ScaledMany::new([1.0; 3]).sum(), Scaled::new(3.0));
        for log in [1e19, -1e19, f64::MAX, f64::MIN] {
            assert!(exp(log).log_over(ONE()).is_finite() && (exp(log) > ONE()) == (log > 0.0), "{log}");
        }
    }

    #[test]
    fn bets_that_are_alike_or_far_apart_add_up_to_the_same_as_one_by_one() {
        let bets = [0.1, 0.5, 0.999, 0.0];
        let gains = [0.3, -0.9, 5.0, 1e200, f64::INFINITY, f64::NAN, -1.0, -3.0, 1e-20];
        let mut many = ScaledMany::new([1.0; 4]);
        let mut single = bets.map(|_| 0.0);
        for i in 0..20_000 {
            // Long runs of losses, so that the bets come to be steps apart.
            let gain = if i % 1_000 < 900 { -0.9 } else { gains[i % gains.len()] };
            let sum = many.bet(&bets, gain).log_over(ONE());
            for (log, bet) in single.iter_mut().zip(bets) {
                let factor = 1.0 + bet * gain;
                *log += if factor > 0.0 && factor.is_finite() { libm::log(factor) } else { 0.0 };
            }
            let top = single.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let expected = top + libm::log(single.iter().map(|log| libm::exp(log - top)).sum());
            assert!((sum - expected).abs() < 1e-8 * (1.0 + expected.abs()), "{i}: {sum} {expected}");
        }
        assert!(many.weights.contains(&0.0), "they are far apart");
    }
}
