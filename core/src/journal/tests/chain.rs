//! The chain finds each change and names its place.

use proptest::prelude::*;

use super::contract::run;
use crate::journal::chain::{Digest, Link, check_end, check_links, event_hash};
use crate::journal::commit::commit_hash;
use crate::journal::verify::Damages;
use crate::journal::{Damage, DamageKind, StreamId};
use crate::time::Time;

fn chain(n: u64) -> Vec<Link> {
    let mut previous = Digest::ZERO;
    (1..=n)
        .map(|seq| {
            let (at, body) = (Time(100 + i64::try_from(seq).unwrap()), format!("{{\"n\":{seq}}}").into_bytes());
            let hash = event_hash(&previous, &run("a"), seq, at, &body);
            previous = hash;
            Link { seq, at, body, hash }
        })
        .collect()
}

fn check(stream: &StreamId, links: &[Link], seq: u64, head: Digest) -> Vec<Damage> {
    let mut damages = Damages::default();
    check_links(stream, 0, Digest::ZERO, links, &mut damages);
    check_end(stream, links.last(), seq, &head, &mut damages);
    damages.listed
}

/// The damages of a chain of `n` events after `change`, as kind and sequence number.
fn after(n: u64, change: impl FnOnce(&mut Vec<Link>)) -> Vec<(DamageKind, u64)> {
    let mut links = chain(n);
    let head = links.last().unwrap().hash;
    change(&mut links);
    check(&run("a"), &links, n, head).into_iter().map(|damage| (damage.kind, damage.seq.unwrap())).collect()
}

#[test]
fn names_what_is_wrong_and_where() {
    use DamageKind::{Changed, Head, Missing, Reordered, Unexpected};
    assert_eq!(after(5, |_| {}), []);
    assert_eq!(after(5, |links| links[2].body[1] ^= 1), [(Changed, 3)]);
    assert_eq!(after(5, |links| links[2].at.0 += 1), [(Changed, 3)]);
    assert_eq!(after(5, |links| links[2].hash = Digest::of(b"x")), [(Changed, 3)]);
    assert_eq!(after(5, |links| links[4].hash = Digest::of(b"x")), [(Changed, 5), (Head, 5)]);
    assert_eq!(after(5, |links| drop(links.remove(1))), [(Missing, 2)]);
    assert_eq!(after(5, |links| drop(links.remove(0))), [(Missing, 1)]);
    assert_eq!(after(5, |links| links.truncate(3)), [(Missing, 4)]);
    assert_eq!(after(5, Vec::clear), [(Missing, 1)]);
    let swapped = after(9, |links| {
        links.swap(2, 6);
        (links[2].seq, links[6].seq) = (3, 7);
    });
    assert_eq!(swapped, [(Reordered, 3), (Reordered, 7)]);
    let longer = after(5, |links| {
        let hash = event_hash(&links[4].hash, &run("a"), 6, Time(200), b"1");
        links.push(Link { seq: 6, at: Time(200), body: b"1".to_vec(), hash });
    });
    assert_eq!(longer, [(Unexpected, 6)]);
}

#[test]
fn belongs_to_one_stream() {
    let links = chain(3);
    assert_eq!(check(&run("a"), &links, 3, links[2].hash), []);
    assert_eq!(check(&run("b"), &links, 3, links[2].hash)[0].seq, Some(1));
}

proptest! {
    /// Rewriting an event and all hashes after it leaves a sound chain, which no longer fits the head.
    #[test]
    fn a_rewritten_tail_does_not_fit_the_head(n in 1_u64..20, at in 0_usize..20) {
        let mut links = chain(n);
        let head = links.last().unwrap().hash;
        let at = at % links.len();
        links[at].body = b"\"forged\"".to_vec();
        let mut previous = if at == 0 { Digest::ZERO } else { links[at - 1].hash };
        for link in &mut links[at..] {
            link.hash = event_hash(&previous, &run("a"), link.seq, link.at, &link.body);
            previous = link.hash;
        }
        let damages = check(&run("a"), &links, n, head);
        prop_assert_eq!(damages.len(), 1);
        prop_assert_eq!((damages[0].kind, damages[0].seq), (DamageKind::Head, Some(n)));
    }

    /// Moving bytes between the fields changes the hash.
    #[test]
    fn lengths_are_part_of_the_hash(name in "[a-z]{2,20}", body in proptest::collection::vec(any::<u8>(), 0..20)) {
        let hash = event_hash(&Digest::ZERO, &run(&name), 1, Time(0), &body);
        let longer = [&[0], &body[..]].concat();
        prop_assert_ne!(hash, event_hash(&Digest::ZERO, &run(&name), 1, Time(0), &longer));
        prop_assert_ne!(hash, event_hash(&Digest::ZERO, &run(&name[1..]), 1, Time(0), &body));
        prop_assert_ne!(hash, event_hash(&Digest::ZERO, &run(&name), 2, Time(0), &body));
        prop_assert_eq!(hash.to_string().parse::<Digest>().unwrap(), hash);
    }
}

/// Worked out by another implementation (Python's hashlib) from the description in `chain.rs` and `commit.rs`: journals
/// that were written once must verify for ever.
#[test]
fn the_format_does_not_drift() {
    let first = event_hash(&Digest::ZERO, &run("a"), 1, Time(1_700_000_000_000), b"{\"type\":\"x\"}");
    assert_eq!(first.to_string(), "267078b2483c31628ff00d5860dc26bebe9af4473544f5398639d42f787e5694");
    let second = event_hash(&first, &run("a"), 2, Time(-1), b"");
    assert_eq!(second.to_string(), "9b109ce89f286fe8911adecad64b5a54ad5649c52000a2040f3c2fe3deb3bc7b");
    assert_eq!(
        commit_hash(&second, 7, b"{}").to_string(),
        "1f606a21ffeae9c18b238b3d26d900a2056e6b0783885d21dd503889cf48f972"
    );
}
