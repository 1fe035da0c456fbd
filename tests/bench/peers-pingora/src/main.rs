//! `bench-pingora proxy UPSTREAM`: a reverse proxy on one thread, for the load of tests/bench/proxies.py. Says where it
//! listens.

use std::error::Error;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::server::Server;
use pingora_core::server::configuration::ServerConf;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_proxy::{ProxyHttp, Session, http_proxy_service};

struct Weighted {
    upstream: SocketAddr,
    turn: AtomicUsize,
}

#[async_trait]
impl ProxyHttp for Weighted {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, _: &mut ()) -> pingora_core::Result<Box<HttpPeer>> {
        // Nine of ten to the one version and one to the other: the same instance in the end, as for all contestants.
        let version = if self.turn.fetch_add(1, Ordering::Relaxed) % 10 == 9 { "v2" } else { "v1" };
        let mut peer = HttpPeer::new(self.upstream, false, version.to_owned());
        peer.options.connection_timeout = Some(Duration::from_secs(5));
        peer.options.read_timeout = Some(Duration::from_secs(60));
        Ok(Box::new(peer))
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [_, upstream] = arguments.as_slice() else { return Err("usage: bench-pingora proxy UPSTREAM".into()) };
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let conf = ServerConf {
        threads: 1,
        upstream_keepalive_pool_size: 256,
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(0),
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let proxy = Weighted { upstream: upstream.parse()?, turn: AtomicUsize::new(0) };
    let mut service = http_proxy_service(&server.configuration, proxy);
    service.add_tcp(&format!("127.0.0.1:{port}"));
    server.add_service(service);
    println!("{port}");
    server.run_forever()
}
