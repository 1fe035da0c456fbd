//! Real processes, all gone afterwards.

use std::time::{Duration, Instant};

use super::*;
use crate::error::Kind;
use crate::time::Span;

fn sh(script: &str) -> Command {
    Command::new(["sh", "-c", script])
}

fn unique(name: &str) -> Mark {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let n = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    Mark::new([format!("test-{}-{n}", std::process::id()), name.to_owned()])
}

async fn lines(running: &mut Running) -> (Vec<String>, Exit) {
    let mut lines = Vec::new();
    while let Some(event) = running.next().await {
        if let Event::Line(line) = event {
            lines.push(line.text().into_owned());
        }
    }
    (lines, running.exit().unwrap())
}

async fn first_line(running: &mut Running) -> String {
    loop {
        match running.next().await {
            Some(Event::Line(line)) => return line.text().into_owned(),
            Some(Event::Exited(_)) => {}
            None => panic!("ended without a line"),
        }
    }
}

async fn gone(pid: u32) -> bool {
    for _ in 0..500 {
        if table::entry(pid).is_none_or(|entry| !entry.lives()) {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

#[tokio::test]
async fn reads_both_pipes_and_the_exit_code() {
    let command = sh("echo out; echo err >&2; printf 'caf\\351'; cat; exit 3").env("X", "1");
    let (mut lines, exit) = lines(&mut command.spawn().unwrap()).await;
    lines.sort();
    assert_eq!(lines, ["caf\u{FFFD}", "err", "out"]);
    assert_eq!(exit, Exit::Code(3));
    assert_eq!(exit.to_string(), "exited with code 3");
}

#[tokio::test]
async fn knows_its_attempt_and_mark() {
    let command = sh(
        "echo $TIDEGATE_RUN $TIDEGATE_STEP $TIDEGATE_ATTEMPT; echo ${TIDEGATE_MARK##* }; echo $$; ps -o pgid= -p $$",
    )
    .step("journal", "a run", "build", 2);
    let mut running = command.spawn().unwrap();
    let pid = running.pid();
    let (lines, _) = lines(&mut running).await;
    assert_eq!(lines[0], "a run build 2");
    assert_eq!(lines[1], "journal/a%20run/build/2");
    assert_eq!(lines[2], pid.to_string());
    assert_eq!(lines[3].trim(), pid.to_string(), "it leads a group of its own");
}

#[tokio::test]
async fn says_where_it_looked() {
    let error = Command::new(["tidegate-no-such-program"]).spawn().unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.to_string().contains(&std::env::var("PATH").unwrap()), "{error}");
    let error = Command::new(["true"]).dir("/no/such/folder").spawn().unwrap_err();
    assert!(error.to_string().contains("no such working directory"), "{error}");
    let error = Command::new(["./here"]).dir("/tmp").spawn().unwrap_err();
    assert!(error.to_string().contains("no such file"), "{error}");
    let folder = std::env::temp_dir().join(format!("tidegate-explain-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("script");
    std::fs::write(&file, "#!/no/such/interpreter\n").unwrap();
    let error = Command::new([file.to_str().unwrap()]).spawn().unwrap_err();
    assert!(error.to_string().contains("not executable"), "{error}");
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let error = Command::new([file.to_str().unwrap()]).spawn().unwrap_err();
    assert!(error.to_string().contains("interpreter"), "{error}");
    std::fs::remove_dir_all(folder).unwrap();
    assert_eq!(Command::new([""; 0]).spawn().unwrap_err().kind(), Kind::Invalid);
    assert!(sh("true").env("A\0B", "c").spawn().is_err());
}

#[tokio::test]
async fn asks_before_it_kills() {
    let mut running = sh("trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.05; done").spawn().unwrap();
    assert_eq!(first_line(&mut running).await, "up");
    running.terminate(Span::seconds(30));
    let (lines, exit) = lines(&mut running).await;
    // A shell may say of its own accord, in the other stream and so in any order, that its sleep was terminated.
    assert!(lines.iter().any(|line| line == "bye") && exit == Exit::Code(7), "{lines:?} {exit}");
    assert!(!running.was_killed());
}

#[tokio::test]
async fn kills_what_does_not_listen_with_all_that_it_started() {
    let mut running =
        sh("trap '' TERM; sh -c 'trap \"\" TERM; echo $$; while :; do sleep 0.05; done'").spawn().unwrap();
    let grandchild: u32 = first_line(&mut running).await.parse().unwrap();
    let ended = running.stop(Span::millis(100)).await;
    assert_eq!(ended, Ended { exit: Exit::Signal(9), interrupted: true, killed: true });
    assert!(gone(grandchild).await);
    assert_eq!(reap::peek(rustix::process::Pid::from_raw(running.pid() as i32).unwrap()), Some(Exit::Lost), "reaped");
}

#[tokio::test]
async fn ends_what_the_leader_left_in_its_group() {
    let mut running = sh("sleep 1000 & echo $!").spawn().unwrap();
    let left: u32 = first_line(&mut running).await.parse().unwrap();
    let begun = Instant::now();
    assert_eq!(running.finish().await.exit, Exit::Code(0));
    assert!(gone(left).await);
    assert!(begun.elapsed() < Duration::from_secs(20), "bounded though the pipe was held");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn ends_what_left_the_group_but_kept_the_mark() {
    let mark = unique("escape");
    let mut running = sh("setsid sh -c 'echo $$; exec sleep 1000' & sleep 0.3").mark(mark).spawn().unwrap();
    let escaped: u32 = first_line(&mut running).await.parse().unwrap();
    assert_eq!(running.finish().await.exit, Exit::Code(0));
    assert!(gone(escaped).await);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn gives_up_a_pipe_that_a_stranger_holds() {
    let mut running = sh("setsid sh -c 'echo $$; exec sleep 1000' & sleep 0.3").spawn().unwrap();
    let stranger: u32 = first_line(&mut running).await.parse().unwrap();
    let begun = Instant::now();
    assert_eq!(running.finish().await.exit, Exit::Code(0));
    assert!(begun.elapsed() < Duration::from_secs(20));
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(stranger as i32).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    assert!(gone(stranger).await);
}

#[tokio::test]
async fn a_dropped_handle_leaves_nothing() {
    let mut running = sh("sleep 1000 & echo $!; wait").spawn().unwrap();
    let (leader, child) = (running.pid(), first_line(&mut running).await.parse().unwrap());
    drop(running);
    assert!(gone(child).await);
    assert!(table::entry(leader).is_none(), "no zombie");
}

#[tokio::test]
async fn a_slow_reader_holds_the_process_back_and_loses_nothing() {
    let (sender, mut receiver) = tokio::sync::mpsc::channel::<Line>(4);
    let mut running = sh("i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done").spawn().unwrap();
    let reader = async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        let mut n = 0;
        while let Some(line) = receiver.recv().await {
            assert_eq!(line.text(), format!("line {n}"));
            n += 1;
            if n == 19_000 {
                // By now the process has ended, and the rest is in the pipe.
                tokio::time::sleep(Duration::from_millis(1_500)).await;
            }
        }
        n
    };
    let writer = async {
        let ended = running.pipe(&sender, std::future::pending()).await;
        drop(sender);
        ended
    };
    let (n, ended) = tokio::join!(reader, writer);
    assert_eq!((n, ended.exit), (20_000, Exit::Code(0)));
}

#[tokio::test]
async fn a_stop_comes_through_though_nobody_reads() {
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    let mut running = Command::new(["yes"]).spawn().unwrap();
    let stop = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        Span::millis(100)
    };
    let ended = tokio::time::timeout(Duration::from_secs(20), async {
        let piped = running.pipe(&sender, stop);
        tokio::pin!(piped);
        tokio::select! {
            ended = &mut piped => ended,
            () = async { tokio::time::sleep(Duration::from_millis(400)).await; drop(receiver); std::future::pending().await } => unreachable!(),
        }
    })
    .await
    .unwrap();
    assert_eq!(ended.exit, Exit::Signal(15));
}

#[tokio::test]
async fn an_exit_state_that_was_stolen_is_lost_and_no_hang() {
    use rustix::process::{Pid, WaitOptions, waitpid};
    let mut running = sh("echo up; exit 0").spawn().unwrap();
    let pid = Pid::from_raw(running.pid() as i32).unwrap();
    let thief = std::thread::spawn(move || waitpid(Some(pid), WaitOptions::empty()).map(|found| found.is_some()));
    assert!(thief.join().unwrap().unwrap());
    let ended = tokio::time::timeout(Duration::from_secs(20), running.finish()).await.unwrap();
    assert_eq!(ended.exit, Exit::Lost);
    assert!(!ended.exit.is_success());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn sweeps_by_mark_and_spares_others() {
    let (wanted, other) = (unique("wanted"), unique("other"));
    let mut stubborn = sh("trap '' TERM; echo up; while :; do sleep 0.05; done").mark(wanted.clone()).spawn().unwrap();
    let mut spared = sh("echo up; exec sleep 1000").mark(other).spawn().unwrap();
    first_line(&mut stubborn).await;
    first_line(&mut spared).await;
    let identity = stubborn.identity().unwrap().clone();
    assert!(identity.is_alive());
    let journal = Mark::new([wanted.parts()[0].clone()]);
    let swept = sweep(move |mark| mark.is_within(&journal), Span::millis(200)).await;
    let of_stubborn: Vec<&Swept> = swept.iter().filter(|swept| swept.identity == identity).collect();
    assert_eq!(of_stubborn.len(), 1, "{swept:?}");
    assert!(of_stubborn[0].killed && !of_stubborn[0].survived && of_stubborn[0].mark == wanted);
    assert!(swept.iter().all(|swept| swept.mark == wanted));
    assert!(!identity.is_alive(), "a zombie is not alive");
    assert!(spared.identity().unwrap().is_alive());
    assert_eq!(stubborn.finish().await.exit, Exit::Signal(9));
    assert_eq!(spared.stop(Span::seconds(10)).await.exit, Exit::Signal(15));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn knows_who_listens() {
    let script = "import socket,time\ns=socket.socket(); s.bind(('127.0.0.1',0)); s.listen(); print(s.getsockname()[1],flush=True)\ntime.sleep(1000)";
    let mut running = Command::new(["python3", "-c", script]).mark(unique("listen")).spawn().unwrap();
    let port: u16 = first_line(&mut running).await.parse().unwrap();
    let (pid, mark) = (running.pid(), unique("nobody"));
    assert_eq!(owns_port(pid, None, port), Listener::Ours);
    assert_eq!(owns_port(std::process::id(), Some(&mark), port), Listener::Other);
    let own = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let own_port = own.local_addr().unwrap().port();
    assert_eq!(owns_port(pid, None, own_port), Listener::Other);
    drop(own);
    running.stop(Span::seconds(10)).await;
    assert_eq!(owns_port(pid, None, port), Listener::Nobody);
}

#[test]
fn outside_of_a_runtime_it_refuses() {
    assert_eq!(sh("true").spawn().unwrap_err().kind(), Kind::Internal);
}
