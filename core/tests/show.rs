//! A run as a program shows it on its standard error, and as `tidegate watch` does on its standard output: what comes out
//! of them as processes of their own.

mod common;

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use common::{LONG, Site};
use tidegate::Pipeline;

/// This test program again, with the test `a_program` alone, that runs a pipeline and shows it.
fn program(site: &Site) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "a_program", "--nocapture"]).env("SHOW", site.path());
    bare(&mut command);
    command
}

/// Without what a CI service or a terminal of whoever runs the tests has set.
fn bare(command: &mut Command) {
    for name in ["GITHUB_ACTIONS", "GITLAB_CI", "NO_COLOR"] {
        command.env_remove(name);
    }
    command.env("TERM", "xterm").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
}

fn read(from: Option<impl Read>) -> String {
    let mut text = String::new();
    from.unwrap().read_to_string(&mut text).unwrap();
    text
}

/// Its standard error, once it has ended well.
fn shown(mut child: Child) -> String {
    let shown = read(child.stderr.take());
    assert!(child.wait().unwrap().success(), "{}", read(child.stdout.take()));
    shown
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program() {
    let Some(dir) = std::env::var_os("SHOW") else { return };
    let site = Site::at(Path::new(&dir), 0);
    let mut pipeline = Pipeline::new("p");
    let build = pipeline.shell(
        "build",
        "echo compiling; echo '::error::no command'; while [ ! -e go ]; do sleep 0.05; done; sleep 0.1; echo built",
    );
    let build = build.dir(dir.to_str().unwrap());
    // More than a pipe holds.
    let much = pipeline.shell("much", "if [ -e much ]; then i=0; while [ $i -lt 4000 ]; do echo 0123456789012345678901234567890123456789; i=$((i + 1)); done; fi");
    let much = much.dir(dir.to_str().unwrap()).after(&build);
    let _ = pipeline.shell("test", "echo 'one test failed'; exit 3").after(&much);
    let engine = site.open().await;
    let outcome = engine.run(&pipeline).key("k").show().await.unwrap();
    std::fs::write(site.file("ended"), format!("{:?}", outcome.status)).unwrap();
    engine.close().await.unwrap();
}

#[test]
fn in_a_pipe_it_is_lines() {
    let site = Site::new();
    let mut child = program(&site).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    // Each is seen before the run goes on.
    assert!(lines.by_ref().any(|line| line == "  build | compiling"));
    std::fs::write(site.file("go"), "").unwrap();
    let rest: Vec<String> = lines.collect();
    assert_eq!(rest[..2], ["  build | ::error::no command", "  build | built"]);
    assert!(rest[2].starts_with("build: succeeded after "), "{rest:?}");
    assert_eq!(rest.last().unwrap(), "the run failed");
    assert!(!rest.concat().contains('\u{1b}'));
    assert!(child.wait().unwrap().success());
    assert_eq!(std::fs::read_to_string(site.file("ended")).unwrap(), "Failed");
}

#[test]
fn github_and_gitlab_fold_what_each_step_wrote() {
    let site = Site::new();
    std::fs::write(site.file("go"), "").unwrap();
    let github = shown(program(&site).env("GITHUB_ACTIONS", "true").spawn().unwrap());
    let group = "::group::build: succeeded";
    let (before, rest) = github.split_once(group).unwrap();
    assert!(before.ends_with("build: started\n"), "{github}");
    let wanted = "\n::stop-commands::tidegate-goes-on-1\ncompiling\n::error::no command\nbuilt\n\
                  ::tidegate-goes-on-1::\n::endgroup::\n";
    assert!(rest.contains(wanted), "{github}");
    let failed = "exited with code 3\none test failed\n::endgroup::\n::error title=test::exited with code 3\n";
    assert!(rest.ends_with(&format!("{failed}the run failed\n")), "{github}");
    // Whoever watches from elsewhere is shown the same, from the logs.
    let watch = |name: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        bare(command.args(["watch", "k"]).env("TIDEGATE_JOURNAL", site.journal()));
        let mut watch = command.env(name, "true").spawn().unwrap();
        let shown = read(watch.stdout.take());
        assert_eq!(watch.wait().unwrap().code(), Some(3), "{}", read(watch.stderr.take()));
        shown
    };
    assert_eq!(watch("GITHUB_ACTIONS"), github);
    let gitlab = watch("GITLAB_CI");
    let sections: Vec<&str> = gitlab.lines().filter(|line| line.contains("section_")).collect();
    assert_eq!(sections.len(), 4, "{gitlab:?}");
    assert!(sections[0].contains(":build[collapsed=true]\r\u{1b}[0Kbuild: succeeded"), "{gitlab:?}");
    assert!(sections[2].contains(":test\r\u{1b}[0Ktest: failed"), "{gitlab:?}");
    assert!(gitlab.contains("\ncompiling\n::error::no command\nbuilt\n"), "{gitlab:?}");
}

/// On a terminal, which `script` of Debian's bsdutils lends, of 20 columns and 5 rows.
#[cfg(target_os = "linux")]
#[test]
fn on_a_narrow_terminal_what_goes_on_stands_below() {
    for (name, value, colour) in [("NO_COLOR", "", true), ("NO_COLOR", "1", false)] {
        let site = Site::new();
        let program = program(&site);
        let words: Vec<String> = [program.get_program()]
            .into_iter()
            .chain(program.get_args())
            .map(|word| word.to_str().unwrap().to_owned())
            .collect();
        let mut script = Command::new("script");
        script.args(["-qfec", &format!("stty cols 20 rows 5; {}", words.join(" ")), "/dev/null"]);
        bare(script.env("SHOW", site.path()));
        let mut child = script.env(name, value).spawn().unwrap();
        let mut output = child.stdout.take().unwrap();
        let (mut text, mut chunk) = (String::new(), [0; 4_096]);
        while let count @ 1.. = output.read(&mut chunk).unwrap() {
            text.push_str(&String::from_utf8_lossy(&chunk[..count]));
            if text.contains("  ::") {
                std::fs::write(site.file("go"), "").unwrap();
            }
        }
        assert!(child.wait().unwrap().success(), "{text:?}");
        let frames: Vec<&str> =
            text.split("\u{1b}[?7l").skip(1).map(|rest| rest.split("\u{1b}[?7h").next().unwrap()).collect();
        assert!(
            frames.iter().any(|frame| frame.contains("0 of 3 done, 1 run…") && frame.contains(" s  ::…")),
            "{text:?}"
        );
        let plain = |line: &str| line.replace("\u{1b}[1m", "").replace("\u{1b}[0m", "");
        for line in frames.iter().flat_map(|frame| frame.lines()).map(plain) {
            assert!(line.chars().count() < 20, "{line:?}");
        }
        assert!(frames.iter().all(|frame| frame.lines().count() < 5));
        // It is gone in the end, and what failed says why.
        let end = text.rsplit_once("\u{1b}[J").unwrap().1;
        assert!(!end.contains("running") && end.contains("the run "), "{end:?}");
        assert!(text.contains("  | one test failed\r\n"), "{text:?}");
        assert_eq!(text.contains("test: \u{1b}[31mfailed\u{1b}[0m"), colour, "{text:?}");
        assert_eq!(text.contains("\u{1b}[1m"), colour);
    }
}

#[test]
fn who_reads_may_go_and_may_not_read() {
    // Gone.
    let site = Site::new();
    let mut child = program(&site).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line == "  build | compiling"));
    drop(lines);
    std::fs::write(site.file("go"), "").unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(std::fs::read_to_string(site.file("ended")).unwrap(), "Failed");

    // Nobody reads, and the pipe is full.
    let site = Site::new();
    std::fs::write(site.file("much"), "").unwrap();
    std::fs::write(site.file("go"), "").unwrap();
    let mut child = program(&site).spawn().unwrap();
    let (ended, begun) = (site.file("ended"), std::time::Instant::now());
    while !ended.exists() {
        assert!(begun.elapsed() < LONG, "the run is held up");
        std::thread::park_timeout(std::time::Duration::from_millis(20));
    }
    assert!(child.wait().unwrap().success());
    let shown = read(child.stderr.take());
    assert!(!shown.contains("the run failed") && shown.len() >= 4_096, "{}", shown.len());
}
