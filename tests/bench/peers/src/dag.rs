//! dagrs: a node a step, an edge a need. A node receives from all that it waits for and then sends to all that wait.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use async_trait::async_trait;
use dagrs::{Action, Content, DefaultNode, EnvVar, Graph, InChannels, Node, NodeTable, OutChannels, Output};

struct Step(Arc<AtomicUsize>);

#[async_trait]
impl Action for Step {
    async fn run(&self, from: &mut InChannels, to: &mut OutChannels, _: Arc<EnvVar>) -> Output {
        for sender in from.get_sender_ids() {
            if let Err(error) = from.recv_from(&sender).await {
                return Output::error(error);
            }
        }
        self.0.fetch_add(1, Ordering::Relaxed);
        to.broadcast(Content::new(())).await;
        Output::empty()
    }
}

/// Microseconds a step.
pub fn run(needs: Vec<Vec<usize>>) -> Result<f64, Box<dyn Error>> {
    let steps = needs.len();
    let ran = Arc::new(AtomicUsize::new(0));
    let mut table = NodeTable::new();
    let mut graph = Graph::new();
    let mut ids = Vec::with_capacity(steps);
    for step in 0..steps {
        let node = DefaultNode::with_action(format!("step-{step}"), Step(Arc::clone(&ran)), &mut table);
        ids.push(node.id());
        graph.add_node(node)?;
    }
    let mut frees = vec![Vec::new(); steps];
    for (step, needs) in needs.iter().enumerate() {
        for &need in needs {
            frees[need].push(ids[step]);
        }
    }
    for (step, frees) in frees.into_iter().enumerate().filter(|(_, frees)| !frees.is_empty()) {
        graph.add_edge(ids[step], frees)?;
    }
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let started = Instant::now();
        graph.async_start().await?;
        let took = started.elapsed();
        assert_eq!(ran.load(Ordering::Relaxed), steps, "every step ran");
        Ok(crate::each(took, steps))
    })
}
