"""Against the reference server of the protocol's authors, which the TypeScript SDK speaks for."""

from __future__ import annotations

import base64
import gzip
import os
import shutil
import subprocess
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest
import trio
from pydantic import FileUrl

from trio_mcp import MCPError, RequestContext, TaskCancelled, URLElicitationRequired
from trio_mcp.opening import HttpOptions

from .children import Child, connected, start_on_free_port

pytestmark = pytest.mark.real

PACKAGE = "@modelcontextprotocol/server-everything"
VERSION = "2026.8.31"
STATIC = "demo://resource/static/document/"
ROOTS = [types.Root(uri=FileUrl("file:///one"), name="One")]

LEGACY = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
OFFERED = pytest.mark.parametrize("version", [*LEGACY, "auto"])


def _install() -> Path:
    """Where the pinned version is; it is fetched once into a cache."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("node and npm are not installed")
    home = Path(os.environ.get("TRIO_MCP_NODE_HOME") or Path.home() / ".cache" / "trio_mcp-node")
    folder = home / VERSION
    entry = folder / "node_modules" / PACKAGE / "dist" / "index.js"
    done = folder / "installed"
    if not done.exists():
        command = [npm, "install", "--no-audit", "--no-fund", "--prefix", str(folder), f"{PACKAGE}@{VERSION}"]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            subprocess.run(command, check=True, capture_output=True, timeout=120)
        except (subprocess.SubprocessError, OSError) as exc:
            pytest.skip(f"{PACKAGE} could not be installed: {exc}")
        done.touch()
    return entry


@pytest.fixture(scope="module", params=["streamableHttp", "sse"])
def everything(request: pytest.FixtureRequest) -> Generator[Child]:
    """The server over each of its transports. `sse` is not asked for: it is what the connector finds."""
    path = "/mcp" if request.param == "streamableHttp" else "/sse"
    command = ["node", str(_install()), request.param]
    child = start_on_free_port(command, {"SEEN": "by get-env"}, path=path, says="port {port}\n")
    yield child
    child.stop()


class User:
    """The callbacks of one connection, and what they have seen."""

    def __init__(self) -> None:
        self.forms: list[types.ElicitRequestFormParams] = []
        self.urls: list[types.ElicitRequestURLParams] = []
        self.declined = ""
        self.progress: list[tuple[float, float | None]] = []
        self._tell, self._told = trio.open_memory_channel[types.ServerNotification](100)

    def options(self, version: str = "auto") -> HttpOptions:
        return {
            "protocol_version": version,
            "elicitation_callback": self.answer,
            "sampling_callback": self.sample,
            "roots": ROOTS,
            "message_handler": self._tell.send,
        }

    async def answer(self, context: RequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
        if isinstance(params, types.ElicitRequestURLParams):
            self.urls.append(params)
            return types.ElicitResult(action="decline" if params.url == self.declined else "accept")
        self.forms.append(params)
        chosen: dict[str, str | int | float | bool | list[str] | None] = {"name": "Ada", "integer": 7}
        if "interpretation" in params.requested_schema["properties"]:
            chosen = {"interpretation": "snake"}
        return types.ElicitResult(action="accept", content=chosen)

    async def sample(
        self, context: RequestContext, params: types.CreateMessageRequestParams
    ) -> types.CreateMessageResult:
        (message,) = params.messages
        assert isinstance(message.content, types.TextContent)
        text = types.TextContent(text=f"sampled after: {message.content.text}")
        return types.CreateMessageResult(role="assistant", content=text, model="test")

    async def note_progress(self, progress: float, total: float | None, message: str | None) -> None:
        self.progress.append((progress, total))

    async def hears(self, wanted: Callable[[types.ServerNotification], bool]) -> types.ServerNotification:
        """The next notification that is `wanted`."""
        while not wanted(notification := await self._told.receive()):
            pass
        return notification

    async def hears_log(self, text: str) -> types.ServerNotification:
        def is_it(each: types.ServerNotification) -> bool:
            return isinstance(each, types.LoggingMessageNotification) and text in str(each.params.data)

        return await self.hears(is_it)


def text_of(result: types.CallToolResult) -> str:
    assert not result.is_error, result
    return "\n".join(block.text for block in result.content if isinstance(block, types.TextContent))


# What each tool is called with, and what its text must hold.
PLAIN_TOOLS: Mapping[str, tuple[dict[str, Any], str]] = {
    "echo": ({"message": "hällo\n✓"}, "Echo: hällo\n✓"),
    "get-annotated-message": ({"messageType": "error", "includeImage": True}, "Error: Operation failed"),
    "get-env": ({}, '"SEEN": "by get-env"'),
    "get-resource-links": ({"count": 2}, "Here are 2 resource links"),
    "get-resource-reference": ({"resourceType": "Text", "resourceId": 3}, "Resource 3"),
    "get-structured-content": ({"location": "Chicago"}, '"temperature":36'),
    "get-sum": ({"a": 1.5, "b": 2}, "The sum of 1.5 and 2 is 3.5."),
    "get-tiny-image": ({}, "The image above is the MCP logo."),
    "gzip-file-as-resource": ({"name": "a.gz", "data": "data:text/plain,abc"}, ""),
}
ASKING_TOOLS: Mapping[str, tuple[dict[str, Any], str]] = {
    "get-roots-list": ({}, "1. One\n   URI: file:///one"),
    "trigger-sampling-request": ({"prompt": "go"}, "context: go"),
    "trigger-elicitation-request": ({}, "- Name: Ada\n- Favorite Integer: 7\n- Favorite Number: 3.14"),
    "trigger-url-elicitation": ({"url": "https://example.com/"}, "User completed the URL elicitation flow"),
}
# Those that take time, tell something or are tasks; they have tests of their own.
OTHER_TOOLS = {
    "simulate-research-query",
    "toggle-simulated-logging",
    "toggle-subscriber-updates",
    "trigger-long-running-operation",
}
# The server offers these according to what the client declares, which follows the version.
SINCE = {"trigger-elicitation-request": "2025-06-18", "trigger-url-elicitation": "2025-11-25"}


@OFFERED
async def test_every_tool_that_it_lists_is_called(everything: Child, version: str) -> None:
    user = User()
    async with connected(everything.url, **user.options(version)) as c:
        assert c.protocol_version == ("2025-11-25" if version == "auto" else version)
        assert c.server_info is not None
        assert c.server_info.name == "mcp-servers/everything"
        assert c.instructions
        await user.hears_log("Roots updated: 1 root(s)")
        tools = {**PLAIN_TOOLS, **ASKING_TOOLS}
        listed = {tool.name for tool in await c.list_tools()}
        expected = {name for name in tools if SINCE.get(name, "") <= c.protocol_version} | OTHER_TOOLS
        assert listed == expected
        for name in sorted(listed - OTHER_TOOLS):
            arguments, text = tools[name]
            assert text in text_of(await c.call_tool(name, arguments)), name


async def test_each_kind_of_content_is_typed(everything: Child) -> None:
    async with connected(everything.url) as c:
        await c.list_tools()  # so structured content is validated as well
        _, image, _ = (await c.call_tool("get-tiny-image")).content
        assert isinstance(image, types.ImageContent)
        assert base64.b64decode(image.data).startswith(b"\x89PNG")
        _, link, _ = (await c.call_tool("get-resource-links", {"count": 2})).content
        assert isinstance(link, types.ResourceLink)
        reference = (await c.call_tool("get-resource-reference", {"resourceId": 3})).content[1]
        assert isinstance(reference, types.EmbeddedResource)
        weather = await c.call_tool("get-structured-content", {"location": "Chicago"})
        assert weather.structured_content == {
            "temperature": 36,
            "conditions": "Light rain / drizzle",
            "humidity": 82,
        }
        annotated = (await c.call_tool("get-annotated-message", {"messageType": "debug"})).content[0]
        assert annotated.annotations is not None
        assert (annotated.annotations.priority, annotated.annotations.audience) == (0.3, ["assistant"])


async def test_a_form_comes_with_its_schema_and_goes_back_with_its_defaults(everything: Child) -> None:
    user = User()
    async with connected(everything.url, **user.options()) as c:
        text = text_of(await c.call_tool("trigger-elicitation-request"))
    (form,) = user.forms
    assert form.requested_schema["properties"]["titledSingleSelectEnum"]["oneOf"][0]["const"] == "hero-1"
    for default in ("It was a dark and stormy night.", "hero-1", "fish-1", "pet-1", "Monica", "Guitar"):
        assert f'"{default}"' in text


async def test_a_url_that_is_required_first_is_an_error_that_names_it_if_it_is_declined(
    everything: Child,
) -> None:
    user = User()
    user.declined = "https://modelcontextprotocol.io"
    arguments = {"url": "https://example.com/", "errorPath": True}
    async with connected(everything.url, **user.options()) as c:
        with pytest.raises(URLElicitationRequired, match="browser-based authorization") as caught:
            await c.call_tool("trigger-url-elicitation", arguments)
        assert [each.url for each in caught.value.elicitations] == [user.declined]
        assert "completed" in text_of(await c.call_tool("trigger-url-elicitation", arguments))
    assert [each.url for each in user.urls] == [user.declined, "https://example.com/"]


@OFFERED
async def test_a_long_operation_reports_its_progress(everything: Child, version: str) -> None:
    user = User()
    async with connected(everything.url, protocol_version=version) as c:
        result = await c.call_tool(
            "trigger-long-running-operation",
            {"duration": 0.3, "steps": 5},
            progress_callback=user.note_progress,
        )
        assert "completed" in text_of(result)
        assert user.progress == [(step, 5) for step in range(1, 6)]


async def test_a_long_operation_does_not_hold_up_others_and_can_be_left(everything: Child) -> None:
    async with connected(everything.url) as c:
        with trio.move_on_after(0.5) as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(c.call_tool, "trigger-long-running-operation", {"duration": 60})
                assert "3" in text_of(await c.call_tool("get-sum", {"a": 1, "b": 2}))
        assert scope.cancelled_caught
        assert "3" in text_of(await c.call_tool("get-sum", {"a": 1, "b": 2}))
        assert c.statistics().requests_cancelled == 1


RESEARCH = "simulate-research-query"


async def test_a_tool_that_must_be_a_task_is_called_like_any_other(everything: Child) -> None:
    user = User()
    async with connected(everything.url, **user.options()) as c:
        await c.list_tools()
        result = await c.call_tool(RESEARCH, {"topic": "python", "ambiguous": True})
        assert "# Research Report: python (snake)" in text_of(result)
    assert len(user.forms) == 1


async def test_a_task_tells_of_its_stages_and_is_found_again(everything: Child) -> None:
    user = User()
    async with connected(everything.url, **user.options()) as c:
        await c.list_tools()
        handle = await c.start_task(RESEARCH, {"topic": "python"}, ttl=60)
        task_id = handle.task_id
        assert task_id is not None
        assert handle.status == "working"
        seen = [update async for update in handle.updates()]
        assert seen[-1].status == "completed"
        assert {each.status_message for each in seen} >= {"Analyzing content...", "Generating report..."}
        text = text_of(await handle.result())
        assert task_id in {task.task_id for task in await c.list_tasks()}
        del handle
        assert text_of(await c.task(task_id).result()) == text
    async with connected(everything.url) as c:
        # This server keeps the tasks of each session apart.
        with pytest.raises(MCPError) as caught:
            await c.task(task_id).result()
        assert caught.value.code == -32602


async def test_leaving_a_task_cancels_it_at_the_server(everything: Child) -> None:
    async with connected(everything.url) as c:
        await c.list_tools()
        handle = await c.start_task(RESEARCH, {"topic": "python"})
        with trio.move_on_after(0.5):
            await handle.result()
        assert handle.task_id is not None
        again = c.task(handle.task_id)
        while await again.refresh() == "working":
            await trio.sleep(0.05)
        assert again.status == "cancelled"
        with pytest.raises(TaskCancelled):
            await again.result()


@OFFERED
async def test_resources_are_listed_and_read(everything: Child, version: str) -> None:
    async with connected(everything.url, protocol_version=version) as c:
        listed = await c.list_resources()
        assert f"{STATIC}features.md" in {str(each.uri) for each in listed}
        for resource in listed:
            (content,) = (await c.read_resource(str(resource.uri))).contents
            assert isinstance(content, types.TextResourceContents)
            assert (content.uri, content.mime_type) == (resource.uri, "text/markdown")
        for template in await c.list_resource_templates():
            uri = template.uri_template.replace("{resourceId}", "5")
            (content,) = (await c.read_resource(uri)).contents
            assert isinstance(content, types.BlobResourceContents) == ("blob" in uri)
        with pytest.raises(MCPError):
            await c.read_resource("demo://nowhere")


async def test_a_resource_that_a_tool_makes_is_announced_and_read(everything: Child) -> None:
    user = User()
    async with connected(everything.url, **user.options()) as c:
        await user.hears_log("Roots updated")
        result = await c.call_tool("gzip-file-as-resource", {"name": "b.gz", "data": "data:text/plain,abc"})
        (link,) = result.content
        assert isinstance(link, types.ResourceLink)
        await user.hears(lambda each: isinstance(each, types.ResourceListChangedNotification))
        (content,) = (await c.read_resource(link.uri)).contents
        assert isinstance(content, types.BlobResourceContents)
        assert gzip.decompress(base64.b64decode(content.blob)) == b"abc"


@OFFERED
async def test_prompts_are_listed_and_filled(everything: Child, version: str) -> None:
    filled: dict[str, dict[str, str]] = {
        "simple-prompt": {},
        "args-prompt": {"city": "Berlin"},
        "completable-prompt": {"department": "Sales", "name": "Eve"},
        "resource-prompt": {"resourceType": "Text", "resourceId": "4"},
    }
    async with connected(everything.url, protocol_version=version) as c:
        assert {prompt.name for prompt in await c.list_prompts()} == set(filled)
        messages = {
            name: (await c.get_prompt(name, arguments or None)).messages for name, arguments in filled.items()
        }
        assert messages["args-prompt"][0].content == types.TextContent(text="What's weather in Berlin?")
        assert isinstance(messages["resource-prompt"][1].content, types.EmbeddedResource)
        with pytest.raises(MCPError) as caught:
            await c.get_prompt("args-prompt", {})
        assert caught.value.code == -32602


@OFFERED
async def test_arguments_are_completed_in_their_context(everything: Child, version: str) -> None:
    ref = types.PromptReference(name="completable-prompt")
    async with connected(everything.url, protocol_version=version) as c:
        departments = await c.complete(ref, {"name": "department", "value": "S"})
        assert departments.completion.values == ["Sales", "Support"]
        names = await c.complete(ref, {"name": "name", "value": ""}, {"department": "Sales"})
        assert names.completion.values == ["David", "Eve", "Frank"]
        template = types.ResourceTemplateReference(uri="demo://resource/dynamic/text/{resourceId}")
        ids = await c.complete(template, {"name": "resourceId", "value": "7"})
        assert ids.completion.values == ["7"]


@OFFERED
async def test_updates_come_for_what_is_subscribed(everything: Child, version: str) -> None:
    user, uri = User(), f"{STATIC}features.md"
    async with connected(everything.url, **user.options(version)) as c:
        await user.hears_log("Roots updated")
        await c.subscribe_resource(uri)
        await c.call_tool("toggle-subscriber-updates")
        update = await user.hears(lambda each: isinstance(each, types.ResourceUpdatedNotification))
        assert isinstance(update, types.ResourceUpdatedNotification)
        assert update.params.uri == uri
        await c.unsubscribe_resource(uri)
        await user.hears_log("Unsubscribe")
        assert "Stopped" in text_of(await c.call_tool("toggle-subscriber-updates"))


async def test_the_server_hears_of_new_roots(everything: Child) -> None:
    user = User()
    async with connected(everything.url, **user.options()) as c:
        await user.hears_log("Roots updated: 1 root(s)")
        await c.set_roots(
            [types.Root(uri=FileUrl("file:///a"), name="A"), types.Root(uri=FileUrl("file:///b"), name="B")]
        )
        await user.hears_log("Roots updated: 2 root(s)")
        assert "2. B\n   URI: file:///b" in text_of(await c.call_tool("get-roots-list"))


@pytest.mark.parametrize("level", ["info", "emergency"])
async def test_log_messages_keep_to_the_level_that_was_set(
    everything: Child, level: types.LoggingLevel
) -> None:
    logged: list[str] = []

    async def note(params: types.LoggingMessageNotificationParams) -> None:
        logged.append(str(params.data))

    options: HttpOptions = {"logging_callback": note, "roots": ROOTS}
    async with connected(everything.url, **options) as c:
        await c.set_logging_level(level)
        await c.subscribe_resource(f"{STATIC}features.md")  # which the server logs as "info"
        await c.call_tool("toggle-simulated-logging")
        await c.call_tool("toggle-simulated-logging")
        await c.ping()
    assert any("Received Subscribe" in each for each in logged) == (level == "info")
    assert all("mergency" in each for each in logged) or level == "info"
