//! Time and chance as values: machines are handed both and read neither.

use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Fault, Result};

/// An instant: milliseconds since 1970-01-01T00:00:00Z.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema, Default,
)]
#[serde(transparent)]
pub struct Time(pub i64);

impl Time {
    /// This instant and `span` more; saturates at the end of time.
    pub fn after(self, span: Span) -> Time {
        Time(self.0.saturating_add(i64::try_from(span.0).unwrap_or(i64::MAX)))
    }

    /// How long after `earlier` this is; zero when it is not.
    pub fn since(self, earlier: Time) -> Span {
        Span(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl std::str::FromStr for Time {
    type Err = Error;

    /// Reads what [`Time`]'s `Display` writes: RFC 3339 in UTC with milliseconds.
    fn from_str(text: &str) -> Result<Time> {
        let fault =
            || Error::invalid(format_args!("time {text:?}"), vec![Fault::new("", "expected 2026-01-31T12:00:00.000Z")]);
        let number = |from: usize, to: usize| {
            text.get(from..to).filter(|t| t.bytes().all(|b| b.is_ascii_digit())).and_then(|t| t.parse::<i64>().ok())
        };
        let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'.'), (23, b'Z')];
        if text.len() != 24 || marks.iter().any(|(i, mark)| text.as_bytes().get(*i) != Some(mark)) {
            return Err(fault());
        }
        let part = |from, to| number(from, to).ok_or_else(fault);
        let (year, month, day) = (part(0, 4)?, part(5, 7)?, part(8, 10)?);
        let (h, m, s, ms) = (part(11, 13)?, part(14, 16)?, part(17, 19)?, part(20, 23)?);
        if !(1..=12).contains(&month) || !(1..=31).contains(&day) || h > 23 || m > 59 || s > 59 {
            return Err(fault());
        }
        let year = if month <= 2 { year - 1 } else { year };
        let (era, yoe) = (year.div_euclid(400), year.rem_euclid(400));
        let doy = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
        let days = era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468;
        let time = Time((((days * 24 + h) * 60 + m) * 60 + s) * 1_000 + ms);
        // Of a day that its month does not have something else would come back.
        if time.to_string() == text { Ok(time) } else { Err(fault()) }
    }
}

impl fmt::Display for Time {
    /// RFC 3339 in UTC with milliseconds, by the days-from-civil algorithm
    /// (Howard Hinnant, "chrono-compatible low-level date algorithms").
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, ms) = (self.0.div_euclid(86_400_000), self.0.rem_euclid(86_400_000));
        let z = days + 719_468;
        let era = z.div_euclid(146_097);
        let doe = z.rem_euclid(146_097);
        let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
        let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
        let mp = (5 * doy + 2) / 153;
        let (day, month) = (doy - (153 * mp + 2) / 5 + 1, if mp < 10 { mp + 3 } else { mp - 9 });
        let year = yoe + era * 400 + i64::from(month <= 2);
        let (h, m, s) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{:03}Z", ms % 1_000)
    }
}

/// A length of time in whole milliseconds, written `"1h30m"`, `"2m"`, `"1.5s"` or `"250ms"` in every language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span(pub u64);

impl Span {
    /// No time at all.
    pub const ZERO: Span = Span(0);

    /// Whole seconds.
    pub const fn seconds(n: u64) -> Span {
        Span(n * 1_000)
    }

    /// Whole milliseconds.
    pub const fn millis(n: u64) -> Span {
        Span(n)
    }

    /// Parses `"1h30m"`: one or more numbers, each with a unit of `d`, `h`, `m`, `s` or `ms`, largest first.
    pub fn parse(text: &str) -> Result<Span> {
        let fault = || {
            Error::invalid(
                format_args!("duration {text:?}"),
                vec![Fault::new(
                    "",
                    "expected numbers with the units d, h, m, s or ms, largest first, such as \"1h30m\"",
                )],
            )
        };
        let mut rest = text;
        let mut total: u64 = 0;
        let mut last_unit = u64::MAX;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(fault)?;
            let (number, tail) = rest.split_at(digits);
            let letters = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(letters);
            let unit: u64 = match unit {
                "d" => 86_400_000,
                "h" => 3_600_000,
                "m" => 60_000,
                "s" => 1_000,
                "ms" => 1,
                _ => return Err(fault()),
            };
            if unit >= last_unit {
                return Err(fault());
            }
            last_unit = unit;
            let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
            let whole: u64 = whole.parse().map_err(|_| fault())?;
            if fraction.is_empty() || fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
                return Err(fault());
            }
            let scale = 10_u64.pow(fraction.len() as u32);
            let part = fraction.parse::<u64>().map_err(|_| fault())? * unit;
            if !part.is_multiple_of(scale) {
                return Err(fault());
            }
            total = whole
                .checked_mul(unit)
                .and_then(|ms| ms.checked_add(part / scale))
                .and_then(|ms| total.checked_add(ms))
                .ok_or_else(fault)?;
            rest = tail;
        }
        if last_unit == u64::MAX { Err(fault()) } else { Ok(Span(total)) }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let mut rest = self.0;
        for (unit, ms) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
            if rest >= ms {
                write!(f, "{}{unit}", rest / ms)?;
                rest %= ms;
            }
        }
        Ok(())
    }
}

impl From<Span> for Duration {
    fn from(span: Span) -> Duration {
        Duration::from_millis(span.0)
    }
}

impl From<Duration> for Span {
    /// Rounds up to a whole millisecond, so that a deadline is never early.
    fn from(duration: Duration) -> Span {
        Span(u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX))
    }
}

impl From<&str> for SpanText {
    fn from(text: &str) -> SpanText {
        SpanText(text.to_owned())
    }
}

impl From<Duration> for SpanText {
    fn from(duration: Duration) -> SpanText {
        SpanText(Span::from(duration).to_string())
    }
}

impl From<Span> for SpanText {
    fn from(span: Span) -> SpanText {
        SpanText(span.to_string())
    }
}

/// A duration as a user wrote it, such as `"30s"`. It is checked with the rest of the spec, so that a bad one is
/// reported together with every other fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct SpanText(pub String);

impl SpanText {
    /// The parsed duration, or a fault at `pointer`.
    pub fn check(&self, pointer: impl Into<String>, faults: &mut Vec<Fault>) -> Span {
        match Span::parse(&self.0) {
            Ok(span) => span,
            Err(error) => {
                let expected = error.faults().first().map_or("", |fault| &fault.message);
                faults.push(Fault::new(pointer, format!("not a duration: {:?}; {expected}", self.0)));
                Span::ZERO
            }
        }
    }
}

/// A span is written as [`SpanText`], so that both are one type to other languages.
impl schemars::JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        SpanText::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        SpanText::schema_id()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        SpanText::json_schema(generator)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Span, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        Span::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// Where "now" comes from.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The present instant; never before one that it gave earlier.
    fn now(&self) -> Time;
}

/// The wall clock at opening plus the monotonic clock since: it never jumps while a program runs.
#[derive(Debug)]
pub struct SystemClock {
    wall: Time,
    opened: Instant,
}

impl SystemClock {
    /// Reads the wall clock once. `not_before` is the latest time known from the journal.
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the clocks")]
    pub fn new(not_before: Time) -> SystemClock {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall = Time(i64::try_from(wall.as_millis()).unwrap_or(i64::MAX));
        SystemClock { wall: wall.max(not_before), opened: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Time {
        self.wall.after(Span(u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX)))
    }
}

/// A clock that moves when it is told to.
#[derive(Debug, Default)]
pub struct VirtualClock(AtomicI64);

impl VirtualClock {
    /// A clock that stands at `start`.
    pub fn new(start: Time) -> VirtualClock {
        VirtualClock(AtomicI64::new(start.0))
    }

    /// Moves to `time`; a time in the past leaves it where it is.
    pub fn advance_to(&self, time: Time) {
        self.0.fetch_max(time.0, Ordering::SeqCst);
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Time {
        Time(self.0.load(Ordering::SeqCst))
    }
}

/// Chance from a seed: SplitMix64 (Steele, Lea, Flood, OOPSLA 2014). Equal seeds give equal draws on every machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Chance(pub u64);

impl Chance {
    /// The next 64 random bits.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number in `0..bound`; 0 when `bound` is 0. (The multiply-shift's bias is under bound / 2^64.)
    pub fn below(&mut self, bound: u64) -> u64 {
        u64::try_from((u128::from(self.draw()) * u128::from(bound)) >> 64).unwrap_or(0)
    }

    /// A number in `[0, 1)`.
    pub fn unit(&mut self) -> f64 {
        (self.draw() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// An independent source named by `label`, so that adding a draw in one place changes no other.
    pub fn fork(self, label: &str) -> Chance {
        let mut hash = Chance(self.0 ^ 0xA076_1D64_78BD_642F);
        for byte in label.bytes() {
            hash.0 ^= u64::from(byte);
            hash = Chance(hash.draw());
        }
        hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_write_them() {
        for (text, ms) in
            [("30s", 30_000), ("1h30m", 5_400_000), ("1.5s", 1_500), ("250ms", 250), ("1d", 86_400_000), ("0s", 0)]
        {
            assert_eq!(Span::parse(text).unwrap(), Span(ms), "{text}");
        }
        for text in
            ["", "30", "s", "1m1h", "1s1s", "-1s", "1.s", "1.2345s", "1 s", "1w", "99999999999999999999s", "0.0001ms"]
        {
            assert!(Span::parse(text).is_err(), "{text:?} must be refused");
        }
        assert_eq!(Span(5_400_000).to_string(), "1h30m");
        assert_eq!(Span::parse(&Span(90_061_001).to_string()).unwrap(), Span(90_061_001));
    }

    #[test]
    fn instants_are_shown_as_rfc_3339() {
        assert_eq!(Time(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Time(951_782_400_123).to_string(), "2000-02-29T00:00:00.123Z");
        assert_eq!(Time(-1).to_string(), "1969-12-31T23:59:59.999Z");
        for time in [0, 951_782_400_123, 1_795_557_600_000, -1] {
            assert_eq!(Time(time).to_string().parse::<Time>().unwrap(), Time(time));
        }
        for text in [
            "",
            "2026-01-31",
            "2026-13-31T12:00:00.000Z",
            "2026-01-31T12:00:00.000+",
            "2026-01-31T12:0x:00.000Z",
            "2026-02-29T12:00:00.000Z",
            "2026-04-31T12:00:00.000Z",
        ] {
            assert!(text.parse::<Time>().is_err(), "{text}");
        }
    }

    #[test]
    fn draws_follow_the_published_sequence() {
        let mut chance = Chance(1_234_567);
        assert_eq!(chance.draw(), 6_457_827_717_110_365_317);
        assert_eq!(chance.draw(), 3_203_168_211_198_807_973);
        assert!((0..1_000).all(|_| chance.below(7) < 7));
        let forks: std::collections::BTreeSet<u64> = (0..10_000).map(|i| Chance(1).fork(&format!("s/{i}")).0).collect();
        assert_eq!(forks.len(), 10_000, "labels must not share a source");
    }
}
