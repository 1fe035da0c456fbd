use proptest::prelude::*;

use super::*;
use crate::proxy::meter::Meter;
use crate::proxy::ticket::Ticket;

const LENGTH: Span = Span(100);

fn epoch(number: u64) -> Epoch {
    let weights = Weights::from([("a".into(), 5_000), ("b".into(), 5_000)]);
    Epoch::new(number, weights, Measure { window: LENGTH, warmup: Span::ZERO })
}

fn begin(ledger: &mut Ledger, now: Time, slot: usize) -> Ticket {
    ledger.roll(now);
    Ticket::new(ledger.cell(), true, slot, Arc::new(Meter::new()))
}

#[test]
fn a_window_waits_for_its_last_request_and_later_ones_wait_for_it() {
    let mut ledger = Ledger::new(Time(0));
    ledger.change(epoch(1), Time(0));
    let first = begin(&mut ledger, Time(10), 0);
    drop(begin(&mut ledger, Time(110), 1));
    ledger.roll(Time(500));
    ledger.settle(Time(500), Span(1_000), Span(5_000));
    assert!(ledger.windows(0, 10).is_empty());
    assert_eq!(ledger.settled_to(Time(500)), Time(100), "the first window is held back");
    drop(first);
    ledger.settle(Time(500), Span(1_000), Span(5_000));
    assert_eq!(ledger.settled_to(Time(550)), Time(550));
    assert_eq!(ledger.settled_to(Time(700)), Time(600), "the open window is over, and nobody has closed it");
    let windows = ledger.windows(0, 10);
    assert_eq!(windows.iter().map(|w| (w.number, w.from.0, w.to.0)).collect::<Vec<_>>(), [(1, 0, 100), (2, 100, 200)]);
    assert_eq!(windows[0].counts["a"].abandoned, 1);
    assert_eq!(ledger.windows(1, 10).len(), 1);
    assert_eq!(ledger.windows(0, 1).len(), 1);
}

#[test]
fn a_flowing_answer_holds_its_window_for_a_while_and_an_unanswered_request_for_longer() {
    let mut ledger = Ledger::new(Time(0));
    ledger.change(epoch(1), Time(0));
    let mut flowing = begin(&mut ledger, Time(10), 0);
    flowing.answered(200);
    let _silent = begin(&mut ledger, Time(210), 0);
    ledger.roll(Time(1_000));
    ledger.settle(Time(1_099), Span(1_000), Span(5_000));
    assert!(ledger.windows(0, 10).is_empty());
    ledger.settle(Time(1_100), Span(1_000), Span(5_000));
    assert_eq!(ledger.windows(0, 10)[0].counts["a"], Counts { requests: 1, errors: 0, abandoned: 0 });
    ledger.settle(Time(5_299), Span(1_000), Span(5_000));
    assert_eq!(ledger.closed.len(), 1);
    ledger.settle(Time(5_300), Span(1_000), Span(5_000));
    assert_eq!(ledger.closed.len(), 0);
}

#[test]
fn a_late_request_is_in_no_window_and_counted_as_late() {
    let mut ledger = Ledger::new(Time(0));
    ledger.change(epoch(1), Time(0));
    let meter = Arc::new(Meter::new());
    let mut late: Vec<Ticket> = (0..2).map(|slot| Ticket::new(ledger.cell(), true, slot, meter.clone())).collect();
    begin(&mut ledger, Time(0), 0).answered(200);
    begin(&mut ledger, Time(110), 1).answered(200);
    ledger.roll(Time(200));
    ledger.settle(Time(1_099), Span(10_000), Span(1_000));
    assert!(ledger.windows(0, 10).is_empty());
    // However long answers may flow, and in both windows alike.
    ledger.settle(Time(1_100), Span(10_000), Span(1_000));
    let windows = ledger.windows(0, 10);
    let one = Counts { requests: 1, ..Counts::default() };
    assert_eq!(
        windows.iter().map(|w| (w.counts["a"], w.counts["b"])).collect::<Vec<_>>(),
        [(one, Counts::default()), (Counts::default(), one)]
    );
    late[0].answered(500);
    late[0].failed();
    drop(late);
    assert_eq!(meter.read().late, 2, "once each, answered or not");
}

#[tokio::test(start_paused = true)]
async fn a_window_tells_how_long_the_answers_to_its_own_requests_took() {
    let after = |ms| tokio::time::advance(std::time::Duration::from_millis(ms));
    let mut ledger = Ledger::new(Time(0));
    ledger.change(epoch(1), Time(0));
    let meter = Arc::new(Meter::new());
    let mut slow: Vec<Ticket> = (0..20).map(|_| begin(&mut ledger, Time(0), 0)).collect();
    let warming = Ticket::new(ledger.cell(), false, 1, meter.clone());
    let left = begin(&mut ledger, Time(0), 1);
    after(50).await;
    // Routed in the next window, answered before those of this one.
    begin(&mut ledger, Time(110), 1).answered(200);
    slow.iter_mut().take(19).for_each(|ticket| ticket.answered(200));
    after(2_000).await;
    slow.iter_mut().skip(19).for_each(|ticket| ticket.failed());
    let mut warming = warming;
    warming.answered(200);
    drop((slow, warming, left));
    ledger.roll(Time(500));
    ledger.sample(Time(2_000));
    ledger.settle(Time(500), Span(0), Span(5_000));
    let windows = ledger.windows(0, 10);
    let near = |told: u64, ms: u64| told >= ms * 1_000 && told <= ms * 1_010;
    let a = windows[0].latency["a"];
    assert!(near(a.p50, 50) && near(a.p95, 50) && near(a.p99, 2_050), "{a:?}");
    assert_eq!(windows[0].latency.get("b"), None, "one was warming, the other one got no answer");
    assert_eq!((windows[1].latency["b"].p99, windows[1].latency.get("a")), (1, None));
    assert!(ledger.readings(0, 10).iter().all(|reading| reading.latency.is_empty()));
    assert!(near(meter.read().latency.p50, 2_050), "the meter counts those that warm, too");
}

#[test]
fn what_nobody_reads_is_bounded_and_its_loss_is_counted() {
    let mut ledger = Ledger::new(Time(0));
    for i in 0..KEPT as i64 + 10 {
        let now = Time(i * 1_000);
        ledger.change(epoch(i as u64), now);
        drop(begin(&mut ledger, now, 0));
        ledger.settle(now, Span(0), Span(0));
        if i == 10 {
            // Those that were read are not lost.
            assert_eq!(ledger.windows(4, usize::MAX).first().map(|window| window.number), Some(5));
        }
    }
    ledger.change(epoch(0), Time(i64::MAX / 2));
    ledger.settle(Time(i64::MAX / 2), Span(0), Span(0));
    assert_eq!(ledger.windows(0, usize::MAX).len(), KEPT);
    assert_eq!(ledger.readings(0, usize::MAX).len(), KEPT);
    assert_eq!(ledger.lost(), (6, 10));
}

#[test]
fn a_reader_sees_every_request_as_a_whole() {
    let mut ledger = Ledger::new(Time(0));
    ledger.change(epoch(1), Time(0));
    let (cell, meter) = (ledger.cell().clone(), Arc::new(Meter::new()));
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (cell, meter, over) = (&cell, &meter, &over);
        let ending = scope.spawn(move || {
            for _ in 0..50_000 {
                Ticket::new(cell, true, 0, meter.clone()).answered(500);
            }
            over.store(true, std::sync::atomic::Ordering::Release);
        });
        while !over.load(std::sync::atomic::Ordering::Acquire) {
            for counts in [cell.counts()[0], cell.epoch.ended()[0]] {
                assert_eq!(counts.requests, counts.errors, "every one is bad");
            }
        }
        ending.join().unwrap();
    });
    assert_eq!(cell.counts()[0], Counts { requests: 50_000, errors: 50_000, abandoned: 0 });
}

#[derive(Debug, Clone)]
enum Step {
    Begin(usize),
    Answer(usize, bool),
    Fail(usize),
    End(usize),
    Wait(i64),
    Change,
    Read,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..2_usize).prop_map(Step::Begin),
        4 => (any::<usize>(), any::<bool>()).prop_map(|(i, good)| Step::Answer(i, good)),
        2 => any::<usize>().prop_map(Step::Fail),
        4 => any::<usize>().prop_map(Step::End),
        4 => (0..400_i64).prop_map(Step::Wait),
        1 => Just(Step::Change),
        2 => Just(Step::Read),
    ]
}

/// What is known of a request: when it was routed, its slot, whether answered, whether bad.
struct Known {
    at: Time,
    epoch: u64,
    slot: usize,
    answered: bool,
    bad: bool,
    ticket: Option<Ticket>,
}

proptest! {
    /// Every request is counted once, in the window of its routing, whatever happens in whatever order.
    #[test]
    fn no_request_is_lost_or_counted_twice(steps in proptest::collection::vec(step(), 0..200)) {
        let (settle, hold) = (Span(u64::MAX), Span(u64::MAX));
        let mut ledger = Ledger::new(Time(0));
        let (mut now, mut number) = (Time(0), 1);
        ledger.change(epoch(number), now);
        let mut known: Vec<Known> = Vec::new();
        let mut got: Vec<Window> = Vec::new();
        let mut readings: BTreeMap<u64, u64> = BTreeMap::new();
        for step in steps {
            let count = known.len().max(1);
            match step {
                Step::Begin(slot) => {
                    let ticket = Some(begin(&mut ledger, now, slot));
                    known.push(Known { at: now, epoch: number, slot, answered: false, bad: false, ticket });
                }
                Step::Answer(i, good) => if let Some(one) = known.get_mut(i % count)
                    && let Some(ticket) = &mut one.ticket {
                        ticket.answered(if good { 200 } else { 500 });
                        one.bad |= !good && !one.answered;
                        one.answered = true;
                    },
                Step::Fail(i) => if let Some(one) = known.get_mut(i % count)
                    && let Some(ticket) = &mut one.ticket {
                        ticket.failed();
                        (one.answered, one.bad) = (true, true);
                    },
                Step::End(i) => if let Some(one) = known.get_mut(i % count)
                    && one.ticket.take().is_some() && one.epoch == number {
                        *readings.entry(number).or_default() += 1;
                    },
                Step::Wait(ms) => now = Time(now.0 + ms),
                Step::Change => {
                    number += 1;
                    ledger.change(epoch(number), now);
                }
                Step::Read => {
                    ledger.roll(now);
                    ledger.sample(now);
                    ledger.settle(now, settle, hold);
                    let after = got.last().map_or(0, |window| window.number);
                    got.extend(ledger.windows(after, 3));
                }
            }
        }
        for one in &mut known {
            if one.ticket.take().is_some() && one.epoch == number {
                *readings.entry(number).or_default() += 1;
            }
        }
        now = Time(now.0 + 2_000);
        ledger.roll(now);
        ledger.sample(now);
        ledger.settle(now, settle, hold);
        let after = got.last().map_or(0, |window| window.number);
        got.extend(ledger.windows(after, usize::MAX));

        for (i, window) in got.iter().enumerate() {
            prop_assert_eq!(window.number, i as u64 + 1);
            prop_assert!(window.from <= window.to && window.to.since(window.from) <= LENGTH);
            prop_assert!(i == 0 || got[i - 1].to <= window.from && got[i - 1].epoch <= window.epoch);
        }
        let mut expected: BTreeMap<(u64, usize), Counts> = BTreeMap::new();
        for one in &known {
            // At an instant at which weights change, the epoch tells.
            let place = got.iter().position(|window| {
                window.epoch == one.epoch && window.from <= one.at && (one.at < window.to || window.from == window.to)
            });
            let place = place.or_else(|| got.iter().position(|window| {
                window.epoch == one.epoch && window.from <= one.at && one.at <= window.to
            }));
            let Some(place) = place else { return Err(TestCaseError::fail(format!("nowhere: {}", one.at))) };
            let counts = expected.entry((place as u64, one.slot)).or_default();
            if one.answered {
                counts.requests += 1;
                counts.errors += u64::from(one.bad);
            } else {
                counts.abandoned += 1;
            }
        }
        for (i, window) in got.iter().enumerate() {
            for (slot, name) in ["a", "b"].iter().enumerate() {
                let counts = expected.remove(&(i as u64, slot)).unwrap_or_default();
                prop_assert_eq!(window.counts[*name], counts);
            }
        }
        prop_assert!(expected.is_empty());
        let mut seen: BTreeMap<u64, u64> = BTreeMap::new();
        for reading in ledger.readings(0, usize::MAX) {
            let ended: u64 = reading.counts.values().map(|counts| counts.requests + counts.abandoned).sum();
            *seen.entry(reading.epoch).or_default() += ended;
        }
        prop_assert_eq!(seen, readings);
    }
}
