//! The built program on a socket.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

struct Running(Child, String);

impl Running {
    fn start() -> Running {
        let mut child = Command::new(env!("CARGO_BIN_EXE_shop"))
            .env("HOST", "127.0.0.1")
            .env("PORT", "0")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Running(child, line.trim_end().rsplit(' ').next().unwrap().to_owned())
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.1).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Reads until the text ends with `end`.
fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(end.as_bytes()) && stream.read(&mut byte).unwrap() > 0 {
        text.push(byte[0]);
    }
    String::from_utf8(text).unwrap()
}

#[test]
fn keeps_connections_and_finishes_requests_on_sigterm() {
    let mut shop = Running::start();
    let mut stream = shop.connect();
    for _ in 0..2 {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: shop\r\n\r\n").unwrap();
        let text = read_until(&mut stream, r#"{"status":"ok"}"#);
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.contains("x-version: "), "{text}");
    }
    let body = r#"{"item":"tea","quantity":2}"#;
    let head = format!(
        "POST /orders HTTP/1.1\r\nhost: shop\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    // The request is under way: the server asks for its body.
    assert!(read_until(&mut stream, "\r\n\r\n").starts_with("HTTP/1.1 100"));
    let killed = Command::new("kill").args(["-TERM", &shop.0.id().to_string()]).status().unwrap();
    assert!(killed.success());
    stream.write_all(body.as_bytes()).unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.starts_with("HTTP/1.1 201 Created") && rest.contains(r#""total":900"#), "{rest}");
    assert_eq!(shop.0.wait().unwrap().code(), Some(0));
}

#[test]
fn refuses_a_body_that_is_too_large() {
    let shop = Running::start();
    let mut stream = shop.connect();
    stream.write_all(b"POST /orders HTTP/1.1\r\nhost: shop\r\ncontent-length: 70000\r\n\r\n").unwrap();
    // The server may answer before all of it is sent.
    let _ = stream.write_all(&[b'x'; 70_000]);
    assert!(read_until(&mut stream, "\r\n").starts_with("HTTP/1.1 413"));
}
