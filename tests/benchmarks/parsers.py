"""What a parser costs: the same exchange on a bare Trio socket with `httptools`, with `h11`, and with none.

    .venv/bin/python tests/benchmarks/parsers.py

Rounds alternate, and the fastest of each counts: what disturbs a round makes it slower, never faster.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

import h11
import httptools
import trio

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from tests.benchmarks.contenders import messages
from tests.benchmarks.processes import Server

ROUNDS: Final = 20
EXCHANGES: Final = 500


class Parser(Protocol):
    """Reads one response."""

    complete: bool

    def feed(self, data: bytes) -> None: ...


class Llhttp:
    def __init__(self) -> None:
        self.complete = False
        self.parts: list[bytes] = []
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self.parts.append(body)

    def on_message_complete(self) -> None:
        self.complete = True


class H11:
    def __init__(self) -> None:
        self.complete = False
        self.parts: list[bytes] = []
        self._connection = h11.Connection(h11.CLIENT)
        self._connection.send(h11.Request(method="POST", target="/", headers=[("host", "x")]))
        self._connection.send(h11.EndOfMessage())

    def feed(self, data: bytes) -> None:
        self._connection.receive_data(data)
        while True:
            match self._connection.next_event():
                case h11.Data() as event:
                    self.parts.append(bytes(event.data))
                case h11.EndOfMessage():
                    self.complete = True
                    return
                case h11.NEED_DATA:
                    return
                case _:
                    pass


class Nothing:
    def __init__(self) -> None:
        self.complete = False

    def feed(self, data: bytes) -> None:
        self.complete = True  # the benchmark's server answers in one piece


PARSERS: Final[dict[str, Callable[[], Parser]]] = {"httptools": Llhttp, "h11": H11, "none": Nothing}


async def compare(host: str, port: int, path: str) -> dict[str, float]:
    """CPU seconds of one exchange with each."""
    body = b'{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}'
    head = "".join(f"{name}: {value}\r\n" for name, value in messages.HEADERS.items())
    request = f"POST {path} HTTP/1.1\r\nhost: x\r\n{head}content-length: {len(body)}\r\n\r\n".encode() + body
    best = dict.fromkeys(PARSERS, float("inf"))
    async with await trio.open_tcp_stream(host, port) as stream:
        for _ in range(ROUNDS):
            for name, make in PARSERS.items():
                began = time.process_time()
                for _ in range(EXCHANGES):
                    await stream.send_all(request)
                    parser = make()
                    while not parser.complete:
                        parser.feed(bytes(await stream.receive_some(65536)))
                best[name] = min(best[name], (time.process_time() - began) / EXCHANGES)
    return best


def main() -> None:
    """Print a line for each."""
    with Server() as server:
        url = urlsplit(server.url)
        assert url.hostname is not None
        assert url.port is not None
        best = trio.run(compare, url.hostname, url.port, url.path)
    for name, seconds in best.items():
        print(f"{name:10} {seconds * 1e6:4.0f} µs")


if __name__ == "__main__":
    main()
