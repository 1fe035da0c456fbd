//! A runtime for programs that have none.

use std::future::Future;

use crate::error::{Error, Kind, Result};

/// Runs a future to its end on a runtime of its own, with threads for as many cores as there are: for a `main` that has
/// no tokio runtime yet. Within one, await the future instead.
///
/// ```
/// # fn main() -> tidegate::Result<()> {
/// let dir = tempfile::tempdir().expect("a folder");
/// tidegate::block_on(async {
///     let engine = tidegate::Engine::open(dir.path().join("release.db")).await?;
///     engine.close().await
/// })
/// # }
/// ```
///
/// # Errors
/// [`Kind::Invalid`] within a runtime, [`Kind::Io`] when the system has no threads left; else those of the future.
pub fn block_on<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    if tokio::runtime::Handle::try_current().is_ok() {
        return Err(Error::new(Kind::Invalid, "there is a runtime already").help("await the future instead"));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| Error::new(Kind::Io, "can't start a runtime").because(error))?.block_on(future)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_what_the_future_gives_and_refuses_to_nest() {
        let inner = block_on(async {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            Ok(block_on(async { Ok(()) }).unwrap_err().kind())
        });
        assert_eq!(inner.unwrap(), Kind::Invalid);
    }
}
