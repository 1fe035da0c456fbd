//! Exact binomial draws from a table, for simulating the judge.

/// The binomial distribution of n trials with chance p, cut where a value is under 10⁻¹⁸ as likely as the mode.
#[derive(Debug, Clone)]
pub(crate) struct Binomial {
    low: u64,
    cumulative: Vec<f64>,
}

impl Binomial {
    /// Built from the mode outwards by P(k+1)/P(k) = (n − k)/(k + 1) · p/(1 − p). The table is about 18 standard
    /// deviations long: keep n·p under some ten thousands.
    pub(crate) fn new(n: u64, p: f64) -> Binomial {
        if p.is_nan() || p <= 0.0 || n == 0 {
            return Binomial { low: 0, cumulative: vec![1.0] };
        }
        if p >= 1.0 {
            return Binomial { low: n, cumulative: vec![1.0] };
        }
        let (size, odds) = (n as f64, p / (1.0 - p));
        // The cast saturates, and the mode is at most n.
        let mode = (libm::floor((size + 1.0) * p) as u64).min(n);
        let (mut low, mut weight, mut below) = (mode, 1.0, Vec::new());
        while low > 0 {
            weight *= low as f64 / ((n - low) as f64 + 1.0) / odds;
            if weight < TINY {
                break;
            }
            below.push(weight);
            low -= 1;
        }
        let mut weights: Vec<f64> = below.into_iter().rev().collect();
        weights.push(1.0);
        let (mut k, mut weight) = (mode, 1.0);
        while k < n {
            weight *= (n - k) as f64 / (k as f64 + 1.0) * odds;
            if weight < TINY {
                break;
            }
            weights.push(weight);
            k += 1;
        }
        let total: f64 = weights.iter().sum();
        let mut sum = 0.0;
        let cumulative = weights
            .iter()
            .map(|weight| {
                sum += weight / total;
                sum
            })
            .collect();
        Binomial { low, cumulative }
    }

    /// The chance of 0.
    pub(super) fn zero(&self) -> f64 {
        if self.low > 0 { 0.0 } else { self.cumulative.first().copied().unwrap_or(1.0).min(1.0) }
    }

    /// The value at `unit`, uniform in [0, 1), by inversion.
    pub(crate) fn draw(&self, unit: f64) -> u64 {
        let last = self.cumulative.len().saturating_sub(1);
        self.low + self.cumulative.partition_point(|sum| *sum <= unit).min(last) as u64
    }

    /// A value above 0, given that it is.
    pub(super) fn draw_positive(&self, unit: f64) -> u64 {
        let zero = self.zero();
        self.draw(zero + unit * (1.0 - zero)).max(1)
    }
}

const TINY: f64 = 1e-18;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Chance;

    fn chances(n: u64, p: f64) -> Vec<f64> {
        let table = Binomial::new(n, p);
        let mut last = 0.0;
        table.cumulative.iter().map(|sum| sum - std::mem::replace(&mut last, *sum)).collect()
    }

    #[test]
    fn agrees_with_the_textbook() {
        // C(4, k) 0.3^k 0.7^(4−k).
        let expected = [0.2401, 0.4116, 0.2646, 0.0756, 0.0081];
        for (chance, expected) in chances(4, 0.3).into_iter().zip(expected) {
            assert!((chance - expected).abs() < 1e-15, "{chance} {expected}");
        }
        assert!((Binomial::new(1_000, 0.001).zero() - 0.367_695_424_770_963_7).abs() < 1e-13, "0.999^1000");
    }

    #[test]
    fn has_the_right_mean_and_spread() {
        for (n, p) in [(10, 0.5), (1_000, 0.01), (1_000_000, 0.005), (u64::MAX, 1e-16), (50, 0.99)] {
            let (table, mut chance) = (Binomial::new(n, p), Chance(7));
            let draws: Vec<f64> = (0..20_000).map(|_| table.draw(chance.unit()) as f64).collect();
            let mean = draws.iter().sum::<f64>() / 20_000.0;
            let variance = draws.iter().map(|draw| (draw - mean) * (draw - mean)).sum::<f64>() / 20_000.0;
            let (expected, spread) = (n as f64 * p, n as f64 * p * (1.0 - p));
            assert!((mean - expected).abs() < 5.0 * (spread / 20_000.0).sqrt(), "{n} {p}: mean {mean}");
            assert!((variance / spread - 1.0).abs() < 0.06, "{n} {p}: variance {variance} {spread}");
        }
    }

    #[test]
    fn the_ends_are_sure() {
        assert_eq!(Binomial::new(9, 0.0).draw(0.999), 0);
        assert_eq!(Binomial::new(9, 1.0).draw(0.0), 9);
        assert_eq!(Binomial::new(0, 0.5).draw(0.5), 0);
        assert_eq!(Binomial::new(9, f64::NAN).draw(0.5), 0);
        assert_eq!(Binomial::new(9, 0.1).draw_positive(0.0), 1);
    }
}
