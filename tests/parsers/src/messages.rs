//! What processes of ours say to each other: commands in the inbox, and what driver and supervisor tell.

use serde_json::json;
use tidegate::engine::{Command, StepAnswer};
use tidegate::health::Outcome;
use tidegate::journal::{Holder, RunEntry};
use tidegate::process::Identity;
use tidegate::service::{Desired, Observed, Window};
use tidegate::supervisor::{Report, Status};

use crate::json::read as read_json;

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let window = json!({"epoch": 1, "number": 2, "from": 1000, "to": 11000, "weights": {"v1": 9000, "v2": 1000},
        "counts": {"v1": {"requests": 90, "errors": 1, "abandoned": 0}}});
    let trouble = json!({"what": "exited with code 3", "last_lines": ["no"]});
    let observed = json!({"generation": 3, "epoch": 1, "cant_listen": false, "trouble": null,
        "versions": {"v1": {"running": 4, "ready": 3, "restarts": 1, "trouble": trouble}}});
    let identity = json!({"pid": 1, "started": 2, "boot": "b"});
    let ready = json!({"probe": {"kind": "tcp", "address": "{host}:{port}"}});
    let desired = json!({"service": "shop", "generation": 3, "listen": "127.0.0.1:80", "epoch": 1,
        "weights": {"v1": 10000}, "measure": {"window": "10s", "warmup": "10s"}, "request_timeout": "1m",
        "max_body_bytes": 1, "versions": {"v1": {"release": {"version": "v1", "command": ["x"]}, "replicas": 4,
        "ready": ready, "drain": "30s", "grace": "10s"}}});
    let verb = |verb: &str| json!({"verb": verb, "step": "ship", "by": "eve", "reason": "now"});
    let answer = |answer| json!({"verb": "resolve", "step": "ship", "by": "eve", "answer": answer});
    let all = [
        json!({"verb": "cancel", "by": "eve", "reason": "enough"}),
        verb("promote"),
        verb("pause"),
        verb("resume"),
        verb("abort"),
        verb("revert"),
        answer(json!({"kind": "done", "value": {"a": [1, 0.30000000000000004]}})),
        answer(json!({"kind": "run_again"})),
        answer(json!({"kind": "fail"})),
        json!({"observed": observed, "address": "127.0.0.1:80", "windows": [window], "settled_to": 5, "readings": []}),
        json!({"identity": identity, "epoch": 7, "services": {"shop": observed}}),
        json!({"pid": 1, "host": "h", "start": 2, "since": 3}),
        json!({"stream": "run/a", "index": {"pipeline": "p", "key": "k", "started": 1, "status": "s", "finished": true}}),
        json!({"verdict": "fail_now", "reason": "status 503", "took_us": 1, "detail": {"status": 503}}),
        window,
        observed,
        identity,
        desired,
    ];
    all.iter().map(|seed| seed.to_string().into_bytes()).collect()
}

pub(crate) fn read(bytes: &[u8]) -> bool {
    let taken = [
        read_json::<Command>(bytes).is_some(),
        read_json::<StepAnswer>(bytes).is_some(),
        read_json::<Desired>(bytes).is_some(),
        read_json::<Observed>(bytes).is_some(),
        read_json::<Window>(bytes).is_some(),
        read_json::<Report>(bytes).is_some(),
        read_json::<Status>(bytes).is_some(),
        read_json::<Identity>(bytes).is_some(),
        read_json::<Holder>(bytes).is_some(),
        read_json::<RunEntry>(bytes).is_some(),
        read_json::<Outcome>(bytes).is_some(),
    ];
    taken.contains(&true)
}
