"""HTTP/1.1 over asyncio streams: connections kept alive, bodies with a length or chunked, and a graceful end."""

import asyncio
import http
import json
from collections.abc import Callable
from typing import Any

MAX_HEAD_BYTES = 64 * 1024
MAX_BODY_BYTES = 64 * 1024
# A client may keep a connection for this long without a request.
IDLE_SECONDS = 75
# A request may take this long to arrive.
READ_SECONDS = 30

Handler = Callable[[str, str, bytes], tuple[int, dict[str, Any]]]


class Refused(Exception):
    """The request can't be read: answered with this status, and the connection ends."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Server:
    """Serves one handler until it is told to stop."""

    def __init__(self, handler: Handler, headers: dict[str, str]) -> None:
        self.handler = handler
        self.headers = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.stopping = False
        self.idle: set[asyncio.Task[None]] = set()
        self.open: set[asyncio.Task[None]] = set()

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listens, and says where. asyncio sets TCP_NODELAY itself."""
        self.server = await asyncio.start_server(self.connection, host, port, limit=MAX_HEAD_BYTES, backlog=512)
        address = self.server.sockets[0].getsockname()
        return address[0], address[1]

    async def stop(self, seconds: float) -> bool:
        """Takes no more connections, ends idle ones, and lets requests under way end. Whether all did in time."""
        self.stopping = True
        self.server.close()
        for task in self.idle:
            task.cancel()
        if not self.open:
            return True
        _, late = await asyncio.wait(self.open, timeout=seconds)
        for task in late:
            task.cancel()
        return not late

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.open.add(task)
        try:
            while await self.exchange(task, reader, writer):
                pass
        except (ConnectionError, EOFError, TimeoutError, asyncio.CancelledError):
            pass  # The client left or stayed silent, or the server stops.
        finally:
            self.open.discard(task)
            writer.close()

    async def exchange(self, task: asyncio.Task[None], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer; whether the connection goes on."""
        if self.stopping:
            return False
        self.idle.add(task)
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                first = await reader.readexactly(1)
        finally:
            self.idle.discard(task)
        try:
            async with asyncio.timeout(READ_SECONDS):
                method, path, keep, body = await read_request(first, reader, writer)
        except Refused as refused:
            self.write(writer, refused.status, {"error": http.HTTPStatus(refused.status).phrase.lower()}, False, False)
            await writer.drain()
            return False
        status, answer = self.handler(method, path, body)
        keep = keep and not self.stopping
        self.write(writer, status, answer, keep, method == "HEAD")
        await writer.drain()
        return keep

    def write(self, writer: asyncio.StreamWriter, status: int, answer: dict[str, Any], keep: bool, head: bool) -> None:
        body = json.dumps(answer).encode()
        lines = (
            f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            f"{self.headers}Connection: {'keep-alive' if keep else 'close'}\r\n\r\n"
        )
        writer.write(lines.encode("latin-1") + (b"" if head else body))


async def read_request(
    first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> tuple[str, str, bool, bytes]:
    """Method, path, whether the client keeps the connection, and the body (RFC 9112)."""
    try:
        head = first + await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        raise Refused(431) from None
    request, *lines = head.decode("latin-1").strip("\r\n").split("\r\n")
    match request.split(" "):
        case [method, path, ("HTTP/1.1" | "HTTP/1.0") as version] if method and path.startswith("/"):
            pass
        case _:
            raise Refused(400)
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise Refused(400)
        name = name.lower()
        if name in headers and name in ("content-length", "transfer-encoding", "host"):
            raise Refused(400)
        headers[name] = value.strip()
    if version == "HTTP/1.1" and "host" not in headers:
        raise Refused(400)
    length = headers.get("content-length")
    coding = headers.get("transfer-encoding")
    if coding is not None and (length is not None or version == "HTTP/1.0"):
        raise Refused(400)  # Two readers could see two different requests.
    if coding is not None and coding.lower() != "chunked":
        raise Refused(501)
    if length is not None and not (length.isascii() and length.isdecimal()):
        raise Refused(400)
    if length is not None and int(length) > MAX_BODY_BYTES:
        raise Refused(413)
    if (length or coding) and headers.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = await read_chunks(reader) if coding else await reader.readexactly(int(length or 0))
    connection = headers.get("connection", "").lower()
    keep = "close" not in connection and (version == "HTTP/1.1" or "keep-alive" in connection)
    return method, path, keep, body


async def read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    try:
        while True:
            text = (await reader.readuntil(b"\r\n")).partition(b";")[0].strip()
            if not 0 < len(text) <= 8 or not all(digit in b"0123456789abcdefABCDEF" for digit in text):
                raise Refused(400)
            size = int(text, 16)
            if size == 0:
                while await reader.readuntil(b"\r\n") != b"\r\n":
                    pass  # Trailers mean nothing here.
                return bytes(body)
            if len(body) + size > MAX_BODY_BYTES:
                raise Refused(413)
            body += await reader.readexactly(size)
            if await reader.readexactly(2) != b"\r\n":
                raise Refused(400)
    except asyncio.LimitOverrunError:
        raise Refused(400) from None
