"""The floor: the least that a client on Trio can do with the parts that trio_mcp is made of.

A Trio socket stream, `httptools` for the response, `pydantic_core.from_json` to read and `json` to write,
and one validation into the type that the user gets. There are no checks, no deadlines and no features, so
nothing that is of use can be as fast.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import urlsplit

import httptools
import mcp_types as types
import trio
from pydantic_core import from_json

from ..loops import TrioLoop
from . import messages
from .base import ProgressCallback

_READ_SIZE: Final = 1 << 16
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class _Response:
    """What `httptools` calls back."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.complete = False

    def on_body(self, body: bytes) -> None:
        self.parts.append(body)

    def on_message_complete(self) -> None:
        self.complete = True


class _Connection:
    version = messages.VERSION

    def __init__(self, host: str, port: int, path: str) -> None:
        self._host = host
        self._port = port
        constant = "".join(f"{name}: {value}\r\n" for name, value in messages.HEADERS.items())
        self._head = f"POST {path} HTTP/1.1\r\nhost: {host}:{port}\r\n{constant}"
        self._idle: list[trio.SocketStream] = []

    async def post(self, message: dict[str, Any]) -> bytes:
        """The whole body of the response to `message`."""
        stream = self._idle.pop() if self._idle else await trio.open_tcp_stream(self._host, self._port)
        try:
            await self._send(stream, message)
            response = _Response()
            parser = httptools.HttpResponseParser(response)
            while not response.complete:
                parser.feed_data(await _receive(stream))
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        self._idle.append(stream)
        return b"".join(response.parts)

    async def call(self, tool: str) -> str:
        return _text(from_json(await self.post(messages.call(tool)))["result"])

    async def call_with_progress(self, tool: str, callback: ProgressCallback) -> str:
        message = messages.call_with_progress(tool)
        stream = self._idle.pop() if self._idle else await trio.open_tcp_stream(self._host, self._port)
        await self._send(stream, message)
        response, unread, text = _Response(), b"", ""
        parser = httptools.HttpResponseParser(response)
        while not response.complete:
            parser.feed_data(await _receive(stream))
            *lines, unread = (unread + b"".join(response.parts)).split(b"\n")
            response.parts.clear()
            for line in lines:
                if line.startswith(b"data: "):
                    event = from_json(line[6:])
                    if "result" in event:
                        text = _text(event["result"])
                    else:
                        params = event["params"]
                        await callback(params["progress"], params["total"], params["message"])
        self._idle.append(stream)
        return text

    async def close(self) -> None:
        for stream in self._idle:
            await stream.aclose()

    async def _send(self, stream: trio.SocketStream, message: dict[str, Any]) -> None:
        body = _encode(message).encode()
        mirrored = "".join(f"{name}: {value}\r\n" for name, value in messages.mirror(message).items())
        head = f"{self._head}{mirrored}content-length: {len(body)}\r\n\r\n"
        await stream.send_all(head.encode() + body)


class Floor:
    title = "floor"
    loop = TrioLoop()
    packages = ("trio", "httptools", "pydantic_core")

    @asynccontextmanager
    async def connect(self, url: str) -> AsyncGenerator[_Connection]:
        parts = urlsplit(url)
        connection = _Connection(parts.hostname or "", parts.port or 80, parts.path)
        types.DiscoverResult.model_validate(from_json(await connection.post(messages.discover()))["result"])
        yield connection
        await connection.close()


async def _receive(stream: trio.SocketStream) -> bytes:
    data = await stream.receive_some(_READ_SIZE)
    if not data:
        raise EOFError("the server closed the connection")
    return bytes(data)


def _text(result: dict[str, Any]) -> str:
    (block,) = types.CallToolResult.model_validate(result).content
    assert isinstance(block, types.TextContent)
    return block.text
