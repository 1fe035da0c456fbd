import contextlib
import http.client
import io
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import unittest
from collections.abc import Iterator

from build import build
from shop import Shop


class Answers(unittest.TestCase):
    def test_sells_drinks(self) -> None:
        shop = Shop("v1")
        expected = {"shop": "hot drinks", "version": "v1", "items": 3}
        self.assertEqual(shop.answer("GET", "/?a=b", b""), (200, expected))
        self.assertEqual(shop.answer("GET", "/items", b"")[1]["items"][1], {"item": "tea", "price": 450})
        order = shop.answer("POST", "/orders", b'{"item":"tea","quantity":2}')
        self.assertEqual(order, (201, {"item": "tea", "quantity": 2, "total": 900}))

    def test_refuses_what_can_not_be(self) -> None:
        shop = Shop("v3")
        for method, path, body, status in [
            ("POST", "/orders", "tea", 400),
            ("POST", "/orders", "\xff", 400),
            ("POST", "/orders", "[]", 422),
            ("POST", "/orders", '{"item":[],"quantity":1}', 422),
            ("POST", "/orders", '{"item":"gold","quantity":1}', 422),
            ("POST", "/orders", '{"item":"tea","quantity":0}', 422),
            ("POST", "/orders", '{"item":"tea","quantity":101}', 422),
            ("POST", "/orders", '{"item":"tea","quantity":1.5}', 422),
            ("POST", "/orders", '{"item":"tea","quantity":true}', 422),
            ("POST", "/items", "", 405),
            ("GET", "/orders", "", 405),
            ("GET", "/gold", "", 404),
        ]:
            with self.subTest(f"{method} {path} {body}"):
                self.assertEqual(shop.answer(method, path, body.encode("latin-1"))[0], status)

    def test_versions_differ_and_only_the_third_fails(self) -> None:
        versions = [("v1", False, 0), ("v2.0.1", True, 0), ("3", True, 300), ("v4", True, 0), ("dev", False, 0)]
        for version, featured, bad in versions:
            shop = Shop(version)
            with self.subTest(version), contextlib.redirect_stderr(io.StringIO()):
                self.assertEqual("featured" in shop.answer("GET", "/", b"")[1], featured)
                failed = sum(shop.answer("GET", "/items", b"")[0] == 500 for _ in range(10_000))
                self.assertLessEqual(abs(failed - bad), bad // 5)
                self.assertTrue(all(shop.answer("GET", "/healthz", b"")[0] == 200 for _ in range(200)))


@contextlib.contextmanager
def built(version: str) -> Iterator[tuple[subprocess.Popen[str], str, int]]:
    with tempfile.TemporaryDirectory() as folder:
        build(version, pathlib.Path(folder))
        environment = {**os.environ, "HOST": "127.0.0.1", "PORT": "0"}
        program = [sys.executable, str(pathlib.Path(folder) / "main.py")]
        with subprocess.Popen(program, env=environment, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                host, _, port = process.stdout.readline().rsplit(" ", 1)[-1].strip().rpartition(":")
                yield process, host, int(port)
            finally:
                process.kill()


def raw(host: str, port: int, text: bytes) -> bytes:
    """Sends bytes and reads to the end of the connection."""
    with socket.create_connection((host, port), timeout=20) as connection:
        connection.sendall(text)
        answer = b""
        while part := connection.recv(65536):
            answer += part
        return answer


class Serves(unittest.TestCase):
    def test_keeps_connections_and_finishes_requests_on_sigterm(self) -> None:
        with built("v1") as (process, host, port):
            idle = http.client.HTTPConnection(host, port, timeout=20)
            for _ in range(2):
                idle.request("GET", "/healthz")
                answer = idle.getresponse()
                self.assertEqual((answer.status, answer.getheader("X-Version")), (200, "v1"))
                self.assertEqual(json.load(answer), {"status": "ok"})
            body = b'{"item":"tea","quantity":2}'
            with socket.create_connection((host, port), timeout=20) as busy:
                busy.sendall(b"POST /orders HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 27\r\n\r\n")
                self.assertTrue(busy.recv(100).startswith(b"HTTP/1.1 100"))  # It is under way.
                process.send_signal(signal.SIGTERM)
                self.assertEqual(idle.sock.recv(1), b"")
                busy.sendall(body)
                rest = b""
                while part := busy.recv(65536):
                    rest += part
            self.assertTrue(rest.startswith(b"HTTP/1.1 201 Created"), rest)
            self.assertIn(b"Connection: close", rest)
            self.assertEqual(process.wait(20), 0)
            idle.close()

    def test_reads_http_as_it_is_written(self) -> None:
        order = b"POST /orders HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        with built("v1") as (_, host, port):
            for text, status in [
                (order + b'Transfer-Encoding: chunked\r\n\r\nA\r\n{"item":"t\r\n11;x=y\r\nea","quantity":2}\r\n0\r\na: b\r\n\r\n', 201),
                (order + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
                (order + b"Transfer-Encoding: chunked\r\n\r\nfffff\r\n", 413),
                (order + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n", 400),
                (order + b"Transfer-Encoding: gzip\r\n\r\n", 501),
                (order + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\n", 400),
                (order + b"Content-Length: -1\r\n\r\n", 400),
                (order + b"Content-Length: 70000\r\n\r\n", 413),
                (b"GET / HTTP/1.0\r\n\r\n", 200),
                (b"GET / HTTP/1.1\r\n\r\n", 400),
                (b"GET /\r\n\r\n", 400),
                (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 70_000, 431),
            ]:
                with self.subTest(text[:120]):
                    self.assertTrue(raw(host, port, text).startswith(b"HTTP/1.1 %d " % status))


if __name__ == "__main__":
    unittest.main()
