//! Open-loop load from a process of its own.

use std::process::Stdio;

use serde_json::Value;
use tokio::process::{Child, Command};

use crate::Failed;
use crate::session::sibling;

const OPTIONS: &str =
    "--json --until-stdin-closes --rate 150 --connections 8 --mix get,post,chunked --new-connection-share 0.2";

/// Load that runs until it is stopped.
#[derive(Debug)]
pub(crate) struct Load(Child);

impl Load {
    pub(crate) fn start(address: &str) -> Result<Load, Failed> {
        let child = Command::new(sibling("load")?)
            .args(["--url", &format!("http://{address}/")])
            .args(OPTIONS.split(' '))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        Ok(Load(child))
    }

    /// Lets requests under way end; what was counted.
    pub(crate) async fn stop(mut self) -> Result<Value, Failed> {
        drop(self.0.stdin.take());
        let output = self.0.wait_with_output().await?;
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}
