//! One suite for every journal.

use crate::error::Kind;
use crate::journal::{Append, Journal, MAX_BODY, Record, RunIndex, Stored, StreamId};
use crate::time::Time;

/// A store that can be opened again and again, and gets commands from elsewhere.
pub(super) trait Bench {
    fn open(&mut self) -> Box<dyn Journal>;
    fn send(&mut self, stream: &StreamId, at: Time, body: &[u8]) -> u64;
}

pub(super) fn record(at: i64, text: &str) -> Record {
    Record { at: Time(at), body: format!("{{\"n\":\"{text}\"}}").into_bytes() }
}

pub(super) fn run(id: &str) -> StreamId {
    StreamId::run(id).unwrap()
}

pub(super) fn index(key: &str, started: i64, finished: bool) -> RunIndex {
    let status = if finished { "succeeded" } else { "running" };
    RunIndex { pipeline: "p".into(), key: key.into(), started: Time(started), status: status.into(), finished }
}

pub(super) fn texts(stored: &[Stored]) -> Vec<(u64, i64, String)> {
    stored.iter().map(|s| (s.seq, s.at.0, String::from_utf8(s.body.clone()).unwrap())).collect()
}

pub(super) fn started(id: &str, at: i64) -> Append {
    Append { index: Some(index(id, at, false)), ..Append::new(run(id), 0, vec![record(at, "a"), record(at + 1, "b")]) }
}

/// Everything that every journal does.
pub(super) fn suite(bench: &mut dyn Bench) {
    keeps_what_is_written(bench);
    refuses_as_a_whole(bench);
    finds_and_lists(bench);
    takes_commands_once(bench);
    prunes(bench);
    fences(bench);
    let mut journal = bench.open();
    let verified = journal.verify().unwrap();
    assert!(verified.is_sound(), "{verified:?}");
    assert!(verified.events > 4 && verified.streams > 3 && verified.commits > 6);
    journal.close().unwrap();
}

fn keeps_what_is_written(bench: &mut dyn Bench) {
    let mut journal = bench.open();
    let shop = StreamId::service("shop").unwrap();
    assert_eq!(journal.read(&run("a")).unwrap(), []);
    assert_eq!(journal.head(&run("a")).unwrap(), 0);
    // Two appends to one stream in one call follow each other.
    let body = "{\"text\": \"\u{1f30a} \\u0000\",   \"n\": 1e2}".as_bytes().to_vec();
    let odd = Record { at: Time(12), body: body.clone() };
    journal
        .append(
            vec![
                started("a", 10),
                Append::new(run("a"), 2, vec![odd]),
                Append::new(shop.clone(), 0, vec![record(5, "s")]),
            ],
            &[],
        )
        .unwrap();
    let epoch = journal.epoch();
    journal.close().unwrap();
    let mut journal = bench.open();
    assert!(journal.epoch() > epoch);
    assert_eq!(journal.last_time(), Time(12));
    let stored = journal.read(&run("a")).unwrap();
    assert_eq!(stored.len(), 3);
    assert_eq!(stored[2], Stored { seq: 3, at: Time(12), body });
    assert_eq!(journal.head(&run("a")).unwrap(), 3);
    assert_eq!(texts(&journal.read(&shop).unwrap()), [(1, 5, "{\"n\":\"s\"}".to_owned())]);
    assert_eq!(journal.services().unwrap(), [shop]);
}

fn refuses_as_a_whole(bench: &mut dyn Bench) {
    let mut journal = bench.open();
    let before = journal.verify().unwrap();
    let good = || Append::new(run("whole"), 0, vec![record(20, "x")]);
    let bad = |body: &[u8]| Append::new(run("a"), 3, vec![Record { at: Time(99), body: body.to_vec() }]);
    let service =
        Append { index: Some(index("k", 1, false)), ..Append::new(StreamId::service("x").unwrap(), 0, vec![]) };
    let huge = [b"\"".as_slice(), &vec![b'x'; MAX_BODY], b"\""].concat();
    for (append, took, kind) in [
        (Append::new(run("a"), 2, vec![record(99, "x")]), vec![], Kind::Conflict),
        (Append::new(run("a"), 4, vec![]), vec![], Kind::Conflict),
        (Append::new(run("a"), 3, vec![record(11, "early")]), vec![], Kind::Invalid),
        (bad(b"{\"open\": "), vec![], Kind::Invalid),
        (bad(b"\xff"), vec![], Kind::Invalid),
        (bad(&huge), vec![], Kind::Invalid),
        (service, vec![], Kind::Invalid),
        (Append { index: Some(index("a", 10, false)), ..Append::new(run("other"), 0, vec![]) }, vec![], Kind::Conflict),
        (Append { index: Some(index("a2", 10, false)), ..Append::new(run("a"), 3, vec![]) }, vec![], Kind::Conflict),
        (Append::new(run("a"), 3, vec![record(99, "x")]), vec![4711], Kind::Conflict),
    ] {
        let what = format!("{append:.200?}");
        let error = journal.append(vec![good(), append], &took).unwrap_err();
        assert_eq!(error.kind(), kind, "{what}: {error}");
        assert_eq!(journal.head(&run("whole")).unwrap(), 0, "{what}");
    }
    // Two new runs with one key in one call.
    let twin = |id: &str| Append { index: Some(index("twin", 1, false)), ..Append::new(run(id), 0, vec![]) };
    assert_eq!(journal.append(vec![twin("t1"), twin("t2")], &[]).unwrap_err().kind(), Kind::Conflict);
    assert_eq!(journal.verify().unwrap(), before);
    journal.append(vec![good()], &[]).unwrap();
    assert_eq!(journal.head(&run("whole")).unwrap(), 1);
}

fn finds_and_lists(bench: &mut dyn Bench) {
    let mut journal = bench.open();
    journal.append(vec![started("b", 30), started("c", 20)], &[]).unwrap();
    let done = Append { index: Some(index("b", 30, true)), ..Append::new(run("b"), 2, vec![record(40, "end")]) };
    journal.append(vec![done], &[]).unwrap();
    assert_eq!(journal.find_run("p", "b").unwrap(), Some(run("b")));
    assert_eq!(journal.find_run("p", "nope").unwrap(), None);
    assert_eq!(journal.find_run("q", "b").unwrap(), None);
    let names =
        |rows: Vec<crate::journal::RunEntry>| rows.iter().map(|row| row.stream.name().to_owned()).collect::<Vec<_>>();
    assert_eq!(names(journal.runs(10).unwrap()), ["b", "c", "a"]);
    assert_eq!(names(journal.runs(2).unwrap()), ["b", "c"]);
    assert_eq!(names(journal.unfinished().unwrap()), ["a", "c"]);
    assert_eq!(journal.runs(1).unwrap()[0].index, index("b", 30, true));
}

fn takes_commands_once(bench: &mut dyn Bench) {
    let mut journal = bench.open();
    assert_eq!(journal.inbox().unwrap(), []);
    let first = bench.send(&run("a"), Time(50), b"{\"cancel\":true}");
    let second = bench.send(&run("c"), Time(51), b"2");
    let waiting = journal.inbox().unwrap();
    assert_eq!(waiting.iter().map(|item| item.id).collect::<Vec<_>>(), [first, second]);
    assert_eq!(
        (&waiting[0].stream, waiting[0].at, &waiting[0].body[..]),
        (&run("a"), Time(50), &b"{\"cancel\":true}"[..])
    );
    let append = Append::new(run("a"), 3, vec![record(60, "cancelled")]);
    journal.append(vec![append], &[first]).unwrap();
    assert_eq!(journal.inbox().unwrap().iter().map(|item| item.id).collect::<Vec<_>>(), [second]);
    assert_eq!(journal.append(vec![], &[first]).unwrap_err().kind(), Kind::Conflict);
    drop(journal);
    let mut journal = bench.open();
    assert_eq!(journal.inbox().unwrap().len(), 1);
    journal.append(vec![], &[second]).unwrap();
    assert!(bench.send(&run("a"), Time(1), b"3") > second);
    let last = journal.inbox().unwrap()[0].id;
    journal.append(vec![], &[last]).unwrap();
    assert_eq!(journal.inbox().unwrap(), []);
}

fn prunes(bench: &mut dyn Bench) {
    let mut journal = bench.open();
    assert_eq!(journal.prune(&run("a")).unwrap_err().kind(), Kind::Conflict);
    assert_eq!(journal.prune(&run("nope")).unwrap_err().kind(), Kind::NotFound);
    assert_eq!(journal.prune(&StreamId::service("shop").unwrap()).unwrap_err().kind(), Kind::Conflict);
    journal.prune(&run("b")).unwrap();
    journal.prune(&run("b")).unwrap();
    assert_eq!(journal.read(&run("b")).unwrap_err().kind(), Kind::NotFound);
    assert_eq!(journal.head(&run("b")).unwrap(), 3);
    assert_eq!(journal.find_run("p", "b").unwrap(), Some(run("b")));
    let error = journal.append(vec![Append::new(run("b"), 3, vec![record(99, "x")])], &[]).unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    assert!(journal.verify().unwrap().is_sound());
    drop(journal);
    assert_eq!(bench.open().read(&run("b")).unwrap_err().kind(), Kind::NotFound);
}

/// That the epoch rises. How an older driver fares depends on the storage; each tests it for itself.
fn fences(bench: &mut dyn Bench) {
    let first = bench.open().epoch();
    let second = bench.open().epoch();
    assert!(second > first);
}
