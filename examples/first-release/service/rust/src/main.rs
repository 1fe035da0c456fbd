//! A small shop: `HOST=127.0.0.1 PORT=8080 shop`. See the README beside it.
#![forbid(unsafe_code)]

mod server;
mod shop;

use std::process::ExitCode;

use shop::Shop;

/// Baked in when it is built; cargo builds again when it changes.
const VERSION: &str = match option_env!("SHOP_VERSION") {
    Some(version) => version,
    None => "dev",
};

fn main() -> ExitCode {
    let served = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .and_then(|runtime| runtime.block_on(server::serve(Shop::new(VERSION))));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("shop: {error}");
            ExitCode::FAILURE
        }
    }
}
