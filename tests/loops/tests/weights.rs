//! A thousand changes of weights under open-loop load, through the real supervisor: no request is lost, and the shares
//! are those of the weights from the very acknowledgement of each change on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use serde_json::Value;
use tidegate::Release;
use tidegate::service::{Desired, DesiredVersion, Measure};
use tidegate::supervisor::{Client, Launcher};
use tidegate::time::{Chance, Span};
use tokio::process::{Child, Command};

const CHANGES: u64 = 1_000;
/// Hundredths of a percent for the version `a`.
const SHARES: [u32; 9] = [0, 500, 2_000, 3_500, 5_000, 6_500, 8_000, 9_500, 10_000];
/// How long weights stay, and how long before their end no request is looked at any more: one that is under way when
/// they change may be routed under either.
const STAY: Duration = Duration::from_millis(70);
const MARGIN: u64 = 20_000;

/// Weights as they were in force: from after the acknowledgement to before the next change, in microseconds since 1970.
struct Reign {
    share: u32,
    from: u64,
    to: u64,
}

fn program(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_service")).with_file_name(name);
    assert!(path.is_file(), "build it first: {}", path.display());
    path
}

fn version(folder: &Path, name: &str, idle_ms: u32) -> (String, DesiredVersion) {
    let env = [("VERSION", name.to_owned()), ("IDLE_MS", idle_ms.to_string())];
    let release = Release {
        version: name.to_owned(),
        command: vec![program("service").display().to_string()],
        env: env.map(|(name, value)| (name.to_owned(), value)).into(),
        dir: Some(folder.display().to_string()),
    };
    let (drain, grace) = (Span::seconds(5), Span::seconds(5));
    (name.to_owned(), DesiredVersion { release, replicas: 2, ready: None, drain, grace })
}

fn desired(folder: &Path, listen: &str, generation: u64, share: u32) -> Desired {
    Desired {
        service: "shop".to_owned(),
        generation,
        listen: listen.to_owned(),
        // They close connections that were idle for this long, in whatever moment that is.
        versions: [version(folder, "a", 7), version(folder, "b", 15)].into(),
        weights: [("a".to_owned(), share), ("b".to_owned(), 10_000 - share)].into(),
        epoch: generation,
        measure: Measure { window: Span::seconds(1), warmup: Span::ZERO },
        request_timeout: Span::seconds(30),
        max_body_bytes: 1 << 20,
    }
}

fn load(address: &str, answers: &Path) -> Child {
    Command::new(program("load"))
        .args("--json --until-stdin-closes --rate 300 --connections 32 --mix get,post,chunked".split(' '))
        .args(["--new-connection-share", "0.3", "--url", &format!("http://{address}/")])
        .arg("--answers")
        .arg(answers)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shares_are_those_of_the_weights_and_no_request_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let launcher = Launcher {
        program: program("driver"),
        args: Vec::new(),
        env: BTreeMap::from([("TIDEGATE_SUPERVISE".to_owned(), "{dir}".to_owned())]),
    };
    let client = Client::connect_or_start(&folder.path().join("supervisor"), &launcher, 1).await.unwrap();
    let listen = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let client = Arc::new(client);
    let (driving, there) = (Arc::clone(&client), folder.path().to_owned());
    // A task of its own: whatever becomes of it, the supervisor is stopped.
    let changed =
        tokio::spawn(
            async move { tokio::time::timeout(Duration::from_secs(240), change(&driving, &there, &listen)).await },
        );
    let changed = changed.await;
    let supervisor = client.list().await.unwrap().identity.unwrap();
    client.stop().await.unwrap();
    while supervisor.is_alive() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (reigns, summary) = changed.unwrap().expect("it takes too long");
    assert_eq!(summary["failed"], 0, "{summary}");
    assert!(summary["requests"].as_u64().unwrap() > 10_000, "{summary}");
    judge(&reigns, &std::fs::read_to_string(folder.path().join("answers")).unwrap());
}

async fn change(client: &Client, folder: &Path, listen: &str) -> (Vec<Reign>, Value) {
    client.apply(&desired(folder, listen, 1, 5_000)).await.unwrap();
    loop {
        let observed = client.observe("shop", 0, 0).await.unwrap().observed;
        if ["a", "b"].iter().all(|version| observed.versions.get(*version).is_some_and(|v| v.ready == 2)) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut load = load(listen, &folder.join("answers"));
    // The wall clock is read once here and once by load; both go on with the monotonic one.
    let began = Instant::now();
    let wall = u64::try_from(UNIX_EPOCH.elapsed().unwrap().as_micros()).unwrap();
    let now = || wall + u64::try_from(began.elapsed().as_micros()).unwrap();
    let mut chance = Chance(wall);
    eprintln!("figure: 1,000 weights: shares are drawn from seed {wall}");
    let mut reigns: Vec<Reign> = Vec::new();
    for change in 0..CHANGES {
        let share = SHARES[usize::try_from(chance.below(SHARES.len() as u64)).unwrap()];
        if let Some(last) = reigns.last_mut() {
            last.to = now();
        }
        client.apply(&desired(folder, listen, change + 2, share)).await.unwrap();
        reigns.push(Reign { share, from: now(), to: 0 });
        tokio::time::sleep(STAY).await;
    }
    reigns.last_mut().unwrap().to = now();
    drop(load.stdin.take());
    let output = load.wait_with_output().await.unwrap();
    (reigns, serde_json::from_slice(&output.stdout).unwrap())
}

/// Holds the answers against the weights.
fn judge(reigns: &[Reign], answers: &str) {
    // By reign: those that `a` answered, and all.
    let mut seen = vec![(0_u32, 0_u32); reigns.len()];
    let mut left_out = 0;
    for line in answers.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let [sent, ended] = [1, 2].map(|i| fields[i].parse::<u64>().unwrap());
        assert_eq!(fields[3], "200", "{line}");
        // The last one whose acknowledgement came before the request.
        let Some(i) = reigns.partition_point(|reign| reign.from <= sent).checked_sub(1) else { continue };
        if sent + MARGIN > reigns[i].to {
            continue;
        }
        if ended > reigns[i].to {
            left_out += 1;
            continue;
        }
        seen[i].0 += u32::from(fields[4] == "a");
        seen[i].1 += 1;
    }
    let counted: u32 = seen.iter().map(|(_, all)| all).sum();
    eprintln!("figure: 1,000 weights: {counted} requests count; {left_out} took longer than their weights stayed");
    assert!(counted > 8_000 && left_out * 20 < counted, "too slow to tell: {counted}, {left_out}");

    let mut groups: BTreeMap<u32, (f64, f64)> = BTreeMap::new();
    // How far single reigns are off, and the mean and variance of that when each request is drawn for itself.
    let (mut off, mut mean, mut variance) = (0.0, 0.0, 0.0);
    for (reign, (a, all)) in reigns.iter().zip(seen).filter(|(_, (_, all))| *all > 0) {
        match reign.share {
            0 => assert_eq!(a, 0, "a request went to a version without weight"),
            10_000 => assert_eq!(a, all, "a request went to a version without weight"),
            share => {
                let (p, a, n) = (f64::from(share) / 10_000.0, f64::from(a), f64::from(all));
                let group = groups.entry(share).or_default();
                *group = (group.0 + a, group.1 + n);
                let npq = n * p * (1.0 - p);
                off += (a - n * p).powi(2) / npq;
                mean += 1.0;
                // Of the square of a standardised binomial: its kurtosis less one.
                variance += 2.0 + (1.0 - 6.0 * p * (1.0 - p)) / npq;
            }
        }
    }
    let squares: f64 = groups
        .iter()
        .map(|(share, (a, n))| {
            let p = f64::from(*share) / 10_000.0;
            (a - n * p).powi(2) / (n * p * (1.0 - p))
        })
        .sum();
    eprintln!(
        "figure: 1,000 weights: chi-squared {squares:.1} of 7 degrees of freedom; {off:.0} over single reigns, expected {mean}"
    );
    assert_eq!(groups.len(), SHARES.len() - 2);
    // One degree of freedom for each share: exceeded once in a million runs.
    assert!(squares < 40.6, "{squares}: {groups:?}");
    assert!((off - mean).abs() < 6.0 * f64::sqrt(variance), "{off} of {mean}, variance {variance}");
}
