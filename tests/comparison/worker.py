"""One client at the misbehaving server, and what came of it, as JSON: `worker.py CLIENT URL [SCENARIO …]`.

It runs in the client's own environment, and so imports nothing but the client and anyio.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import os
import sys
import warnings
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any, TypeVar

import anyio

LIMIT = 5
"""Seconds after which something counts as never."""

T = TypeVar("T")
Progress = Callable[[float, float | None, str | None], Awaitable[None]]


class Never(Exception):
    """Something has not ended in time."""


class Client:
    """What the scenarios need of a client."""

    backend = "asyncio"
    package = ""
    module = ""

    def __init__(self, url: str) -> None:
        self.url = url
        self.library: Any = sys.modules[self.module]

    @asynccontextmanager
    async def connect(self) -> AsyncGenerator[None]:
        raise NotImplementedError
        yield

    async def call(self, name: str, progress: Progress | None = None) -> Any:
        raise NotImplementedError

    async def tools(self) -> list[Any]:
        raise NotImplementedError


class TrioMcp(Client):
    backend = "trio"
    package = "trio_mcp"
    module = "trio_mcp"

    @asynccontextmanager
    async def connect(self) -> AsyncGenerator[None]:
        async with self.library.open_connector(self.url) as self.c:
            yield

    async def call(self, name: str, progress: Progress | None = None) -> Any:
        return await self.c.call_tool(name, {}, progress_callback=progress)

    async def tools(self) -> list[Any]:
        return list(await self.c.list_tools())


class Sdk(Client):
    package = "mcp"
    module = "mcp"

    @asynccontextmanager
    async def connect(self) -> AsyncGenerator[None]:
        async with self.library.Client(self.url) as self.c:
            yield

    async def call(self, name: str, progress: Progress | None = None) -> Any:
        return await self.c.call_tool(name, {}, progress_callback=progress)

    async def tools(self) -> list[Any]:
        return list((await self.c.list_tools()).tools)


class FastMcp(Client):
    package = "fastmcp"
    module = "fastmcp.client"

    @asynccontextmanager
    async def connect(self) -> AsyncGenerator[None]:
        async with self.library.Client(self.url) as self.c:
            yield

    async def call(self, name: str, progress: Progress | None = None) -> Any:
        return await self.c.call_tool(name, {}, progress_handler=progress)

    async def tools(self) -> list[Any]:
        return list(await self.c.list_tools())


class McpUse(Client):
    package = "mcp-use"
    module = "mcp_use.client.connectors.http"

    @asynccontextmanager
    async def connect(self) -> AsyncGenerator[None]:
        self.c = self.library.HttpConnector(self.url)
        await self.c.connect()
        try:
            await self.c.initialize()
            yield
        finally:
            await self.c.disconnect()

    async def call(self, name: str, progress: Progress | None = None) -> Any:
        if progress is not None:
            raise NotImplementedError("call_tool takes no progress callback")
        return await self.c.call_tool(name, {})

    async def tools(self) -> list[Any]:
        return list(await self.c.list_tools())


CLIENTS = {"trio_mcp": TrioMcp, "mcp.Client": Sdk, "fastmcp.Client": FastMcp, "mcp-use": McpUse}


def described(exc: BaseException) -> str:
    """The type of an exception, and of what is in it if it is a group."""
    name = type(exc).__name__
    if isinstance(exc, BaseExceptionGroup):
        return f"{name} of {', '.join(described(inner) for inner in exc.exceptions)}"
    return name


def on_asyncio() -> bool:
    """Whether this is asyncio, and not Trio."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def limited(action: Callable[[], Awaitable[T]], seconds: float) -> T:
    """What `action` gives.

    Raises:
        Never: it has not ended in time.
    """
    if not on_asyncio():
        with anyio.move_on_after(seconds):
            return await action()
        raise Never
    # In a task of its own: some clients leave cancel scopes open in the task that they are used in.
    task = asyncio.ensure_future(action())
    await asyncio.wait({task}, timeout=seconds)
    if not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=1)
        raise Never
    return task.result()


async def outcome(action: Callable[[], Awaitable[Any]]) -> str:
    """What comes of `action`: "works", what it raises, or that it does not end."""
    try:
        await limited(action, LIMIT)
    except Never:
        return f"nothing for {LIMIT} s"
    except Exception as exc:
        known = "503" in str(exc) or getattr(exc, "status_code", None) == 503
        return described(exc) + (", with the status" if known else "")
    return "works"


# The scenarios: each is a path of the server, and says in a few words what the program meets.


async def refused(client: Client) -> str:
    client.url = "http://127.0.0.1:1/mcp"  # nobody listens there

    async def connect() -> None:
        async with client.connect():
            pass

    return await outcome(connect)


async def body(client: Client) -> str:
    async def fail() -> None:
        async with client.connect():
            raise KeyError("mine")

    return await outcome(fail)


async def one_call(client: Client) -> str:
    async with client.connect():
        return await outcome(lambda: client.call("x"))


async def second_call(client: Client) -> str:
    async with client.connect():
        await outcome(lambda: client.call("x"))
        return await outcome(lambda: client.call("x"))


async def progress(client: Client) -> str:
    seen: list[float] = []

    async def report(done: float, total: float | None, message: str | None) -> None:
        await anyio.sleep(0.001)  # a callback that does something
        seen.append(done)

    async with client.connect():
        try:
            await client.call("x", report)
        except NotImplementedError as exc:
            return str(exc)
        order = "in order" if seen == sorted(seen) else "out of order"
        return f"{len(seen)} of 20{f', {order}' if seen else ''}"


async def pages(client: Client) -> str:
    async with client.connect():
        return f"{len(await client.tools())} of 4 tools"


async def list_error(client: Client) -> str:
    found: list[Any] = []

    async def tools() -> None:
        found.extend(await client.tools())

    async with client.connect():
        raised = await outcome(tools)
        return f"returns {found}" if raised == "works" else raised


async def cancel(client: Client) -> str:
    async with client.connect():
        began = anyio.current_time()
        with anyio.move_on_after(0.3):
            await client.call("x")
        late = anyio.current_time() - began - 0.3
        await anyio.sleep(0.5)
        told = (await client.call("told")).content[0].text
        return f"{'at once' if late < 0.2 else f'{late:.1f} s late'}; server told: {told}"


async def close(client: Client) -> str:
    async with client.connect():
        await client.call("x")
        began = anyio.current_time()
    took = anyio.current_time() - began
    return f"{took:.0f} s"


SCENARIOS: dict[str, Callable[[Client], Awaitable[str]]] = {
    "refused": refused,
    "body": body,
    "cut": one_call,
    "wrong-id": one_call,
    "status": one_call,
    "reset": second_call,
    "expired": one_call,
    "progress": progress,
    "pages": pages,
    "list-error": list_error,
    "cancel": cancel,
    "close": close,
}


async def run(kind: type[Client], base: str, name: str) -> str:
    """What comes of the scenario `name`."""
    try:
        return await limited(lambda: SCENARIOS[name](kind(f"{base}/{kind.package}/{name}")), 6 * LIMIT)
    except Never:
        return f"more than {6 * LIMIT} s"
    except Exception as exc:
        return f"the connection ends: {described(exc)}"


def main(name: str, base: str, *scenarios: str) -> None:
    """Run the scenarios, all of them unless some are named."""
    warnings.simplefilter("ignore")
    logging.disable()
    kind = CLIENTS[name]
    importlib.import_module(kind.module)  # now, as it counts for none of the scenarios
    found = {
        scenario: anyio.run(run, kind, base, scenario, backend=kind.backend)
        for scenario in scenarios or SCENARIOS
    }
    print(json.dumps({"version": version(kind.package), "found": found}), flush=True)
    os._exit(0)  # whatever a client has left behind


if __name__ == "__main__":
    main(*sys.argv[1:])
