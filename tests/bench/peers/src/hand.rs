//! Tokio tasks spawned by hand: each step a task, spawned by the last of those that it waits for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

struct Graph {
    frees: Vec<Vec<usize>>,
    open: Vec<AtomicUsize>,
    ended: UnboundedSender<()>,
}

fn spawn(graph: Arc<Graph>, step: usize) {
    tokio::spawn(async move {
        for &next in &graph.frees[step] {
            if graph.open[next].fetch_sub(1, Ordering::AcqRel) == 1 {
                spawn(Arc::clone(&graph), next);
            }
        }
        let _ = graph.ended.send(());
    });
}

/// Microseconds a step.
pub fn run(needs: Vec<Vec<usize>>) -> f64 {
    let steps = needs.len();
    let mut frees = vec![Vec::new(); steps];
    for (step, needs) in needs.iter().enumerate() {
        for &need in needs {
            frees[need].push(step);
        }
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let (ended, mut ends) = unbounded_channel();
        let open = needs.iter().map(|needs| AtomicUsize::new(needs.len())).collect();
        let graph = Arc::new(Graph { frees, open, ended });
        let started = Instant::now();
        for step in (0..steps).filter(|&step| needs[step].is_empty()) {
            spawn(Arc::clone(&graph), step);
        }
        for _ in 0..steps {
            ends.recv().await.expect("every step ends");
        }
        crate::each(started.elapsed(), steps)
    })
}
