//! Work that is measured: in a process of its own, where no other test has memory or sockets.

use std::process::Stdio;

use crate::bench::LONG;

/// The work of a second process of this test.
const WORK: &str = "PROXY_TEST_WORK";

/// What the second process does; in the first one there is nothing to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn works_in_a_process_of_its_own() {
    let Ok(work) = std::env::var(WORK) else { return };
    let words: Vec<&str> = work.split(' ').collect();
    match words[0] {
        "body" => crate::servers::give_bodies(words[1]).await,
        "endless" => crate::endless::alone().await,
        "idle" => crate::idle::alone().await,
        "idle-clients" => crate::idle::clients(words[1].parse().unwrap(), words[2].parse().unwrap()).await,
        "readers" => crate::clients::readers_alone().await,
        "reload" => crate::reload::alone().await,
        other => panic!("no such work: {other}"),
    }
}

/// The second process; killed when it is dropped.
pub(crate) fn process(work: &str) -> tokio::process::Command {
    let mut program = tokio::process::Command::new(std::env::current_exe().unwrap());
    program.args(["--exact", "alone::works_in_a_process_of_its_own", "--nocapture"]).env(WORK, work);
    program.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    program
}

/// Does work in a process of its own and passes on what it said.
pub(crate) async fn alone(work: &str) {
    // Longer than anything in it may take, so that it says itself what did.
    let output = tokio::time::timeout(2 * LONG, process(work).output()).await.expect(work).unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{work}: {said}");
    said.lines().filter(|line| line.starts_with("figure: ")).for_each(|line| eprintln!("{line}"));
}
