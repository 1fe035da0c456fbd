//! The program against small servers, good and bad.

mod server;

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};

use server::{Manner, Server};

fn load(url: &str, options: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_load"))
        .args(["--json", "--url", url])
        .args(options.split_whitespace())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

async fn summary(child: Child) -> Value {
    let output = tokio::time::timeout(Duration::from_secs(60), child.wait_with_output()).await.unwrap().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(text.lines().count(), 1, "{text}");
    serde_json::from_str(&text).unwrap()
}

#[tokio::test]
async fn counts_every_answer_by_status_and_version() {
    let server = Server::start(Manner::EveryTenthFails).await;
    let options = "--rate 200 --seconds 1 --connections 4 --mix get,post,chunked,get";
    let summary = summary(load(&server.url(), options)).await;
    let seen = server.seen();
    assert_eq!(summary["requests"].as_u64().unwrap() + summary["unsent"].as_u64().unwrap(), 200, "{summary}");
    assert_eq!(summary["requests"], json!(seen.requests), "nothing is sent twice: {summary}");
    assert_eq!(summary["by_status"]["500"], json!(seen.requests / 10), "{summary}");
    assert_eq!(summary["failed"], summary["by_status"]["500"]);
    assert_eq!(summary["failed_by_version"], json!({"v2": seen.requests / 10}));
    assert_eq!(summary["by_version"], json!({"v2": seen.requests}));
    assert!(seen.connections <= 4, "connections are kept: {seen:?}");
    // Two of four are reads, one has a length and one has none; the bodies arrive whole.
    assert!(seen.gets.abs_diff(seen.requests / 2) <= 4, "{seen:?}");
    assert!(seen.sized.abs_diff(seen.chunked) <= 4 && seen.chunked > 0, "{seen:?}");
    assert_eq!(seen.gets + seen.sized + seen.chunked, seen.requests);
    assert_eq!(seen.broken_bodies, 0);
}

#[tokio::test]
async fn a_share_of_requests_has_connections_of_their_own() {
    let server = Server::start(Manner::Well).await;
    let summary =
        summary(load(&server.url(), "--rate 100 --seconds 1 --connections 2 --new-connection-share 0.5")).await;
    let (seen, sent) = (server.seen(), summary["requests"].as_u64().unwrap());
    assert_eq!(summary["failed"], json!(0), "{summary}");
    assert!((sent / 2..=sent / 2 + 4).contains(&seen.connections), "{seen:?} {summary}");
}

#[tokio::test]
async fn failures_have_reasons() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let refused = summary(load(&nobody, "--rate 50 --seconds 0.4")).await;
    assert_eq!(refused["by_failure"], json!({"refused": refused["requests"]}), "{refused}");
    assert_eq!(refused["failed"], refused["requests"]);
    for (manner, reason) in [
        (Manner::CutsTheBody, "closed"),
        (Manner::ClosesUnanswered, "closed"),
        (Manner::Resets, "reset"),
        (Manner::TalksNonsense, "malformed"),
    ] {
        let server = Server::start(manner).await;
        let summary = summary(load(&server.url(), "--rate 50 --seconds 0.4 --connections 1")).await;
        let requests = &summary["requests"];
        assert_eq!(summary["by_failure"], json!({reason: requests}), "{manner:?} {summary}");
        assert_eq!(&summary["failed"], requests);
        assert_eq!(server.seen().requests, requests.as_u64().unwrap(), "nothing is sent twice: {manner:?}");
    }
    let server = Server::start(Manner::Slow(Duration::from_secs(30))).await;
    let late = summary(load(&server.url(), "--rate 20 --seconds 0.4 --timeout 0.2")).await;
    assert_eq!(late["by_failure"], json!({"timeout": late["requests"]}), "{late}");
}

#[tokio::test]
async fn a_connection_that_was_closed_while_idle_is_opened_again() {
    let server = Server::start(Manner::ClosesAfterEach).await;
    let summary = summary(load(&server.url(), "--rate 20 --seconds 1 --connections 1")).await;
    let (seen, requests) = (server.seen(), summary["requests"].as_u64().unwrap());
    // A request that crosses the server's close on its way may fail; it is not sent again.
    assert!(summary["by_status"]["200"].as_u64().unwrap() >= requests / 2, "{summary}");
    assert_eq!(summary["by_status"]["200"], json!(seen.requests), "{summary}");
    assert_eq!(summary["by_version"], json!({"none": seen.requests}));
}

#[tokio::test]
async fn a_stall_shows_in_the_requests_that_were_due_meanwhile() {
    let server = Server::start(Manner::FirstStalls(Duration::from_millis(800))).await;
    let summary = summary(load(&server.url(), "--rate 50 --seconds 1 --connections 1")).await;
    // 40 of 50 were due during the stall. A closed loop would see one slow answer.
    assert!(summary["latency_us"]["p50"].as_u64().unwrap() >= 150_000, "{summary}");
}

#[tokio::test]
async fn another_process_reads_phases_until_standard_input_closes() {
    let server = Server::start(Manner::Well).await;
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("report-{}.json", std::process::id()));
    let mut child = load(&server.url(), &format!("--until-stdin-closes --rate 100 --report {}", file.display()));
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut last = 0;
    while last < 20 {
        assert!(Instant::now() < deadline, "no report");
        tokio::time::sleep(Duration::from_millis(20)).await;
        let Ok(text) = std::fs::read_to_string(&file) else { continue };
        let report: Value = serde_json::from_str(&text).expect("never half a report");
        let requests = report["requests"].as_u64().unwrap();
        assert!(requests >= last, "counts only grow");
        last = requests;
    }
    drop(child.stdin.take());
    let summary = summary(child).await;
    assert_eq!(summary["stopped_by"], json!("stdin"));
    let report: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    std::fs::remove_file(&file).unwrap();
    assert_eq!(report, summary);
    assert_eq!(summary["requests"], json!(server.seen().requests));
}

#[tokio::test]
async fn each_answer_has_a_line_with_its_times() {
    let server = Server::start(Manner::EveryTenthFails).await;
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("answers-{}", std::process::id()));
    let wall = || std::time::UNIX_EPOCH.elapsed().unwrap().as_micros();
    let before = wall();
    let summary = summary(load(&server.url(), &format!("--rate 100 --seconds 0.5 --answers {}", file.display()))).await;
    let after = wall();
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    let (mut bad, mut lines) = (0, 0);
    for line in text.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let [due, sent, ended] = [0, 1, 2].map(|i| fields[i].parse::<u128>().unwrap());
        assert!(before <= due && due <= sent && sent < ended && ended <= after, "{before} {line} {after}");
        assert_eq!(fields[4], "v2");
        bad += u64::from(fields[3] == "500");
        lines += 1;
    }
    assert_eq!((&summary["requests"], &summary["failed"]), (&json!(lines), &json!(bad)), "{summary}");

    drop(server);
    let child = load("http://127.0.0.1:1/", "--seconds 0.2 --answers /dev/full");
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("/dev/full"));
}

#[tokio::test]
async fn a_signal_lets_requests_under_way_end() {
    let server = Server::start(Manner::Slow(Duration::from_millis(700))).await;
    let child = load(&server.url(), "--rate 20 --seconds 60 --connections 8");
    let deadline = Instant::now() + Duration::from_secs(30);
    while server.seen().requests < 4 {
        assert!(Instant::now() < deadline, "no requests");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let kill = Command::new("kill").args(["-TERM", &child.id().unwrap().to_string()]).status().await.unwrap();
    assert!(kill.success());
    let summary = summary(child).await;
    assert_eq!((&summary["stopped_by"], &summary["failed"]), (&json!("SIGTERM"), &json!(0)), "{summary}");
    assert_eq!(summary["requests"], json!(server.seen().requests));
}

#[tokio::test]
async fn refuses_other_machines_and_says_so() {
    let mut child = load("http://192.0.2.1/", "--seconds 1");
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).await.unwrap();
    assert_eq!(child.wait().await.unwrap().code(), Some(2));
    assert!(text.contains("loopback"), "{text}");
    // A report that can't be written ends the run with an error, not with a summary.
    let server = Server::start(Manner::Well).await;
    let child = load(&server.url(), "--seconds 30 --report /nowhere/at/all.json");
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("/nowhere/at/all.json"));
}
