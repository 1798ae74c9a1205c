"""Start a tool that takes long, leave, come back, and collect its result.

    python examples/tasks.py

The server is scripted, in memory; with one of your own, give `open_connector` its URL.
"""

import trio

from trio_mcp import TASKS_EXTENSION
from trio_mcp.testing import Call, ScriptedServer


def script(server: ScriptedServer) -> None:
    """A server that makes a task of each call, and needs a third of a second for it."""
    begun: dict[str, float] = {}

    def call_tool(call: Call) -> dict[str, object]:
        task_id = f"task-{len(begun) + 1}"
        begun[task_id] = trio.current_time()
        return {"resultType": "task", **state(task_id)}

    def state(task_id: str) -> dict[str, object]:
        task: dict[str, object] = {
            "taskId": task_id,
            "status": "working",
            "ttlMs": None,
            "pollIntervalMs": 100,
        }
        if trio.current_time() - begun[task_id] < 0.3:
            return {**task, "statusMessage": "thinking"}
        return {**task, "status": "completed", "result": {"content": [{"type": "text", "text": "42"}]}}

    server.on["tools/call"] = call_tool
    server.on["tasks/get"] = lambda call: state(call.params["taskId"])


async def main() -> None:
    async with ScriptedServer() as server:
        script(server)
        extensions: dict[str, dict[str, object]] = {TASKS_EXTENSION: {}}
        async with server.connect(extensions=extensions) as c:
            result = await c.call_tool("ponder")  # waits for the task, as for any call
            print("called:", *(getattr(content, "text", "") for content in result.content))
            handle = await c.start_task("ponder")
            print("started:", handle.task_id, handle.status)
        # The connection has ended, and the task goes on.
        async with server.connect(extensions=extensions) as c:
            handle = c.task(handle.task_id or "")
            result = await handle.result()
            print(
                "found again:", handle.status, *(getattr(content, "text", "") for content in result.content)
            )


if __name__ == "__main__":
    trio.run(main)
