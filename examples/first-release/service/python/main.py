"""A small shop: ``HOST=127.0.0.1 PORT=8080 python main.py`` in a folder that build.py made. See the README beside it."""

import asyncio
import os
import signal
import sys

from shop import Shop
from version import VERSION
from wire import Server


async def main() -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server = Server(Shop(VERSION).answer, {"X-Version": VERSION})
    host, port = await server.start(os.environ.get("HOST", "127.0.0.1"), int(os.environ.get("PORT", "8080")))
    print(f"shop {VERSION} listens on {host}:{port}", flush=True)
    await stop.wait()
    if await server.stop(seconds=10):
        return 0
    print("shop: requests did not end in time", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
