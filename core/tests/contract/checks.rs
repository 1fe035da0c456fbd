//! Checks: what real probes find of a service that answers by a script, and what a replay makes of the same answers.

use std::sync::Arc;

use tidegate::health::{CheckRecord, CheckSpec, ProbeSpec, Transition, Verdict, Watcher, probe};
use tidegate::time::{Chance, SystemClock, Time};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::common::{LONG, Site};

/// Two up, three down, degraded after two; as fast as may be, and with a patience that no busy machine uses up.
fn check(probe: ProbeSpec) -> CheckSpec {
    CheckSpec {
        interval: Some("20ms".into()),
        jitter: Some(0),
        timeout: Some("50s".into()),
        rise: Some(2),
        fall: Some(3),
        degrade: Some(2),
        start_period: Some("0s".into()),
        ..CheckSpec::new(probe)
    }
}

/// The transitions of a replay.
fn replayed(check: &CheckSpec, records: &[CheckRecord]) -> Vec<String> {
    let standings = check.replay(records, Some(Time(0)), Chance(1)).unwrap();
    standings.iter().flat_map(|standing| &standing.transitions).map(Transition::to_string).collect()
}

fn watch(check: &CheckSpec) -> Watcher {
    let check = check.validate().unwrap();
    let probe = probe::build(&check.probe, check.timeout).unwrap();
    Watcher::new(&check, probe, Arc::new(SystemClock::new(Time::default())), Chance(1))
}

async fn next(watcher: &mut Watcher) -> Transition {
    tokio::time::timeout(LONG, watcher.next()).await.expect("a transition")
}

/// As many transitions of the live check as the replay has.
async fn same(check: &CheckSpec, records: &[CheckRecord]) -> Vec<String> {
    let expected = replayed(check, records);
    let (mut watcher, mut found) = (watch(check), Vec::new());
    for _ in &expected {
        found.push(next(&mut watcher).await.to_string());
    }
    assert_eq!(expected, found, "replayed and live");
    expected
}

#[tokio::test(flavor = "multi_thread")]
async fn of_http_by_statuses() {
    let statuses = [503, 200, 200, 500, 200, 500, 500, 500, 302, 204, 429, 429, 200, 404, 410, 200, 200];
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/healthz", listener.local_addr().unwrap());
    let (warn, fail_now) = (vec!["429".to_owned()], vec!["410".to_owned()]);
    let check = check(ProbeSpec::Http { url, pass: None, warn, fail_now });
    let served = tokio::spawn(async move {
        for status in statuses.into_iter().chain(std::iter::repeat(200)) {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut head = vec![0; 4_096];
            // A probe sends its whole head at once.
            assert!(client.read(&mut head).await.unwrap() > 0);
            let answer = format!("HTTP/1.1 {status} Said\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            client.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    let records = statuses.map(|status| CheckRecord { status: Some(status), ..CheckRecord::default() });
    let told = same(&check, &records).await;
    assert!(told.len() >= 6, "{told:#?}");
    served.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_command_by_exit_codes() {
    let codes = [0, 0, 2, 2, 0, 2, 2, 2, 3, 3, 3, 1, 1, 0, 0];
    let site = Site::new();
    let asked = site.file("asked");
    std::fs::write(site.file("codes"), codes.map(|code| code.to_string()).join("\n")).unwrap();
    let script = format!(
        "echo >> '{asked}'; exit $(sed -n \"$(wc -l < '{asked}')p\" '{codes}')",
        asked = asked.display(),
        codes = site.file("codes").display()
    );
    let argv = ["sh", "-c", &script].map(str::to_owned).to_vec();
    let check = check(ProbeSpec::Command { argv, warn: vec![1], unknown: vec![3] });
    let records = codes.map(|code| CheckRecord { exit_code: Some(code), ..CheckRecord::default() });
    let told = same(&check, &records).await;
    assert!(told.len() >= 6, "{told:#?}");
}

/// Who listens, listens no more and listens again.
#[tokio::test(flavor = "multi_thread")]
async fn of_tcp_by_who_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let check = check(ProbeSpec::Tcp { address: address.to_string() });
    use Verdict::{Fail, Pass};
    let expected = replayed(&check, &[Pass, Pass, Fail, Fail, Fail, Pass, Pass].map(CheckRecord::result));
    let mut watcher = watch(&check);
    let mut found = vec![next(&mut watcher).await];
    drop(listener);
    found.extend([next(&mut watcher).await, next(&mut watcher).await]);
    let listener = TcpListener::bind(address).await.unwrap();
    found.push(next(&mut watcher).await);
    drop(listener);
    // A replay of mere verdicts knows no reasons.
    let found: Vec<String> =
        found.into_iter().map(|told| Transition { reason: String::new(), ..told }.to_string()).collect();
    assert_eq!(expected, found, "replayed and live");
}
