//! The proxy as a program of its own, for a load generator to ask.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use tidegate::proxy::{Config, Instance, Proxy};
use tidegate::service::Measure;
use tidegate::time::{Clock, Span, SystemClock, Time};
use tokio::io::AsyncReadExt;

/// Serves on one thread what `upstream` answers, shared out between two versions by weight, counted in windows and in
/// the histogram, with all time-outs on. Says where it listens, and ends with its standard input.
pub(crate) fn serve(upstream: SocketAddr) -> Result<(), Box<dyn Error>> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new(Time::default()));
        let proxy = Proxy::bind("127.0.0.1:0", Config::default(), clock).await?;
        for version in ["v1", "v2"] {
            proxy.add(Instance {
                id: version.into(),
                version: version.into(),
                address: upstream,
                ready_at: Time::default(),
            });
        }
        let weights = BTreeMap::from([("v1".to_owned(), 9_000), ("v2".to_owned(), 1_000)]);
        proxy.route(weights, 1, Measure { window: Span::seconds(10), warmup: Span::seconds(0) });
        println!("{}", proxy.address().port());
        std::io::stdout().flush()?;
        tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
        Ok(())
    })
}
