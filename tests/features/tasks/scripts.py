"""Servers whose tasks go through states that a test lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tests.conftest import Serve
from trio_mcp import TASKS_EXTENSION
from trio_mcp.testing import Call, ScriptedServer
from trio_mcp.testing.call import Answer
from trio_mcp.testing.messages import Json

EXTENSIONS: Mapping[str, Json] = {TASKS_EXTENSION: {}}
LEGACY = "2025-11-25"
DONE = {"content": [{"type": "text", "text": "done"}]}
FORM = {"method": "elicitation/create", "params": {"message": "who?", "requestedSchema": {"type": "object"}}}
TASKS_CAPABILITY: Json = {"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}}


def task(status: str = "working", **more: Any) -> Json:
    """A task of the extension."""
    stamps = {"createdAt": "2026-01-01T00:00:00Z", "lastUpdatedAt": "2026-01-01T00:00:00Z"}
    return {"taskId": "id-1", "status": status, **stamps, "ttlMs": None, "pollIntervalMs": 5000, **more}


def completed(**more: Any) -> Json:
    return task("completed", result=DONE, **more)


def asking(**questions: Json) -> Json:
    return task("input_required", inputRequests=questions)


def legacy_task(status: str = "working", **more: Any) -> Json:
    """A task of 2025-11-25."""
    stamps = {"createdAt": "2026-01-01T00:00:00Z", "lastUpdatedAt": "2026-01-01T00:00:00Z"}
    return {"taskId": "id-1", "status": status, **stamps, "ttl": None, "pollInterval": 5000, **more}


def goes_through(server: ScriptedServer, *steps: Json | Exception) -> None:
    """`tasks/get` is answered by one after the other, and by the last one again and again."""

    def get(call: Call) -> Answer:
        step = steps[min(len(server.all("tasks/get")), len(steps)) - 1]
        if isinstance(step, Exception):
            raise step
        return dict(step)

    server.on["tasks/get"] = get


def modern(serve: Serve, *steps: Json | Exception, created: Json | None = None) -> ScriptedServer:
    """A server of the extension that makes a task of each call."""
    server = serve()
    server.on["tools/call"] = lambda call: {"resultType": "task", **(created or task())}
    server.on["tasks/cancel"] = lambda call: {"resultType": "complete"}
    server.on["tasks/update"] = lambda call: {"resultType": "complete"}
    goes_through(server, *({"resultType": "complete", **s} if isinstance(s, dict) else s for s in steps))
    return server


def legacy(
    serve: Serve, *steps: Json | Exception, support: str | None = "required", result: Json = DONE
) -> ScriptedServer:
    """A server of 2025-11-25 with one tool, "slow"."""
    server = serve(LEGACY, capabilities={"tools": {}, "tasks": TASKS_CAPABILITY})
    execution = {} if support is None else {"execution": {"taskSupport": support}}
    tool = {"name": "slow", "inputSchema": {"type": "object"}, **execution}
    server.on["tools/list"] = lambda call: {"tools": [tool]}
    server.on["tools/call"] = lambda call: {"task": legacy_task()} if "task" in call.params else DONE
    server.on["tasks/result"] = lambda call: result
    server.on["tasks/cancel"] = lambda call: legacy_task("cancelled")
    goes_through(server, *steps)
    return server


def times(server: ScriptedServer, method: str) -> Sequence[float]:
    """When the calls of `method` came, since the first `tools/call`."""
    began = server.all("tools/call")[0].time
    return [round(call.time - began, 3) for call in server.all(method)]
