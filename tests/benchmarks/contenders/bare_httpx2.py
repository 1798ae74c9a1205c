"""httpx2 by itself: what the HTTP library costs that the SDK's client stands on. It checks nothing."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx2

from ..loops import TrioLoop
from . import messages
from .base import ProgressCallback


class _Connection:
    version = messages.VERSION

    def __init__(self, client: httpx2.AsyncClient, url: str) -> None:
        self._client = client
        self._url = url

    async def post(self, message: dict[str, Any]) -> Any:
        response = await self._client.post(
            self._url, content=json.dumps(message).encode(), headers=messages.mirror(message)
        )
        return json.loads(response.content)["result"]

    async def call(self, tool: str) -> str:
        return _text(await self.post(messages.call(tool)))

    async def call_with_progress(self, tool: str, callback: ProgressCallback) -> str:
        message = messages.call_with_progress(tool)
        body, headers = json.dumps(message).encode(), messages.mirror(message)
        async with self._client.stream("POST", self._url, content=body, headers=headers) as response:
            async for line in response.aiter_lines():
                if line.startswith("data: "):
                    event = json.loads(line[6:])
                    if "result" in event:
                        return _text(event["result"])
                    params = event["params"]
                    await callback(params["progress"], params["total"], params["message"])
        raise ValueError("the stream ended without an answer")


class BareHttpx2:
    title = "bare httpx2 on Trio"
    loop = TrioLoop()
    packages = ("httpx2", "httpcore2", "trio")

    @asynccontextmanager
    async def connect(self, url: str) -> AsyncGenerator[_Connection]:
        async with httpx2.AsyncClient(headers=messages.HEADERS) as client:
            connection = _Connection(client, url)
            await connection.post(messages.discover())
            yield connection


def _text(result: Any) -> str:
    text: str = result["content"][0]["text"]
    return text
