"""A server built with the official SDK, as a child process: it prints its port, then serves `/mcp` there."""

from __future__ import annotations

import argparse
import socket
import warnings
from collections import Counter, defaultdict
from typing import Annotated, Any

import anyio
import mcp_types as types
import uvicorn
from mcp.server import ServerRequestContext
from mcp.server.mcpserver import Context, Elicit, ListRoots, MCPServer, Resolve, Sample
from mcp.shared.exceptions import MCPDeprecationWarning, UrlElicitationRequiredError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import BaseModel, Field
from starlette.types import ASGIApp, Message, Receive, Scope, Send

TOUCHED = "memo://touched"
SESSION_ID = "mcp-session-id"
LEVELS: tuple[types.LoggingLevel, ...] = (
    "debug",
    "info",
    "notice",
    "warning",
    "error",
    "critical",
    "alert",
    "emergency",
)

warnings.simplefilter("ignore", MCPDeprecationWarning)

server = MCPServer("real", instructions="add first", version="1.0", log_level="CRITICAL")
started: Counter[str] = Counter()
cancelled: Counter[str] = Counter()
listening: defaultdict[str, anyio.Event] = defaultdict(anyio.Event)
subscribed: set[tuple[str, str]] = set()
visited: set[str] = set()
levels: dict[str, types.LoggingLevel] = {}


class Name(BaseModel):
    name: str
    polite: bool = True


class Sum(BaseModel):
    total: int
    terms: list[int]


class Term(BaseModel):
    value: int


def session_of(ctx: Context) -> str:
    return (ctx.headers or {}).get(SESSION_ID, "")


# Tools that keep to themselves


@server.tool()
def add(a: int, b: int) -> int:
    return a + b


@server.tool()
def sum_up(terms: list[int]) -> Sum:
    return Sum(total=sum(terms), terms=terms)


@server.tool()
def fail() -> str:
    raise RuntimeError("it failed on purpose")


@server.tool()
def headers(ctx: Context) -> dict[str, str]:
    return dict(ctx.headers or {})


@server.tool()
def trace_context(ctx: Context) -> dict[str, str]:
    """What of the request's `_meta` is trace context."""
    meta = dict(ctx.request_context.meta or {})
    return {key: str(value) for key, value in meta.items() if key in ("traceparent", "baggage")}


@server.tool()
async def forever(key: str) -> None:
    started[key] += 1
    try:
        await anyio.sleep_forever()
    except anyio.get_cancelled_exc_class():
        cancelled[key] += 1
        raise


@server.tool()
def started_calls(key: str) -> int:
    return started[key]


@server.tool()
def cancelled_calls(key: str) -> int:
    return cancelled[key]


@server.tool()
def terms(total: int) -> list[Term]:
    return [Term(value=1)] * total


@server.tool()
def route(
    region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})],
    level: Annotated[int, Field(json_schema_extra={"x-mcp-header": "Level"})],
    ctx: Context,
) -> dict[str, str]:
    """The headers that it was routed by; this SDK refuses those that do not match the arguments."""
    return {name: value for name, value in (ctx.headers or {}).items() if name.startswith("mcp-param-")}


# Tools that send notifications


@server.tool()
async def slow(n: int, ctx: Context) -> str:
    for step in range(1, n + 1):
        await ctx.report_progress(step, n, f"step {step}")
        await anyio.lowlevel.checkpoint()
    return "done"


@server.tool()
async def log(level: types.LoggingLevel, text: str, ctx: Context) -> None:
    # This SDK leaves it to a legacy server to keep to the level that was set.
    if LEVELS.index(level) >= LEVELS.index(levels.get(session_of(ctx), "debug")):
        await ctx.log(level, text, logger_name="real")


@server.tool()
async def touch(ctx: Context) -> None:
    """Tell that the resource has changed, on the session's GET stream if it was subscribed to, and the tools.

    A modern server tells those who listen.
    """
    if ctx.protocol_version in MODERN_PROTOCOL_VERSIONS:
        await ctx.notify_resource_updated(TOUCHED)
        await ctx.notify_tools_changed()
        return
    await listening[session_of(ctx)].wait()
    if (session_of(ctx), TOUCHED) in subscribed:
        await ctx.session.send_resource_updated(TOUCHED)
    await ctx.session.send_tool_list_changed()


# Tools that ask the client: within the call's own stream or, in the modern era, by its result


def ask_for_name() -> Elicit[Name]:
    return Elicit("who?", Name)


def ask_for_sample() -> Sample:
    text = types.TextContent(text="say it")
    return Sample([types.SamplingMessage(role="user", content=text)], max_tokens=10, system_prompt="be brief")


def ask_for_roots() -> ListRoots:
    return ListRoots()


@server.tool()
def ask(answer: Annotated[Name, Resolve(ask_for_name)]) -> str:
    return f"{answer.name}, {'please' if answer.polite else 'now'}"


@server.tool()
async def ask_url(ctx: Context) -> str | types.InputRequiredResult:
    url, message, elicitation_id = "https://example.com/consent", "go there", "e1"
    if ctx.protocol_version not in MODERN_PROTOCOL_VERSIONS:
        return (await ctx.elicit_url(message, url, elicitation_id)).action
    if ctx.input_responses is None:
        params = types.ElicitRequestURLParams(message=message, url=url, elicitation_id=elicitation_id)
        return types.InputRequiredResult(input_requests={"consent": types.ElicitRequest(params=params)})
    answer = ctx.input_responses["consent"]
    assert isinstance(answer, types.ElicitResult)
    return answer.action


@server.tool()
async def after_visit(key: str) -> str:
    """Done only for who has been to a URL."""
    if key not in visited:
        params = types.ElicitRequestURLParams(
            message="go there", url=f"https://example.com/{key}", elicitation_id=key
        )
        raise UrlElicitationRequiredError([params])
    return "done"


@server.tool()
async def visit(key: str, ctx: Context) -> None:
    """What the user does at the URL."""
    visited.add(key)
    await listening[session_of(ctx)].wait()
    await ctx.session.send_elicit_complete(key)


@server.tool()
def sample(answer: Annotated[types.CreateMessageResult, Resolve(ask_for_sample)]) -> str:
    assert isinstance(answer.content, types.TextContent)
    return answer.content.text


@server.tool()
def roots(answer: Annotated[types.ListRootsResult, Resolve(ask_for_roots)]) -> list[str]:
    return [str(root.uri) for root in answer.roots]


@server.tool()
async def roots_aside(ctx: Context) -> list[str]:
    """As `roots`, but asked over the session's GET stream."""
    await listening[session_of(ctx)].wait()
    return [str(root.uri) for root in (await ctx.session.list_roots()).roots]


# Resources, prompts, completion


@server.resource(TOUCHED)
def touched() -> str:
    return "some text"


@server.resource("memo://bytes", mime_type="application/x-bytes")
def some_bytes() -> bytes:
    return b"\x00\xff"


@server.resource("greeting://{name}")
def greeting(name: str) -> str:
    return f"hello {name}"


@server.prompt()
def introduce(name: str) -> str:
    return f"introduce {name}"


@server.completion()  # type: ignore[no-untyped-call, untyped-decorator]
async def complete(
    ref: types.PromptReference | types.ResourceTemplateReference,
    argument: types.CompletionArgument,
    context: types.CompletionContext | None,
) -> types.Completion:
    known = [*((context and context.arguments) or {}).values(), "ada", "alan", "grace"]
    kind = "prompt" if isinstance(ref, types.PromptReference) else "template"
    return types.Completion(values=[kind, *(name for name in known if name.startswith(argument.value))])


# What this SDK leaves to the low-level server


def _session_id(ctx: ServerRequestContext[Any, Any]) -> str:
    return str(ctx.request.headers.get(SESSION_ID, "")) if ctx.request is not None else ""


async def _subscribe(
    ctx: ServerRequestContext[Any, Any], params: types.SubscribeRequestParams
) -> types.EmptyResult:
    subscribed.add((_session_id(ctx), str(params.uri)))
    return types.EmptyResult()


async def _unsubscribe(
    ctx: ServerRequestContext[Any, Any], params: types.UnsubscribeRequestParams
) -> types.EmptyResult:
    subscribed.discard((_session_id(ctx), str(params.uri)))
    return types.EmptyResult()


async def _set_level(
    ctx: ServerRequestContext[Any, Any], params: types.SetLevelRequestParams
) -> types.EmptyResult:
    levels[_session_id(ctx)] = params.level
    return types.EmptyResult()


_low = server._lowlevel_server
_low.add_request_handler("resources/subscribe", types.SubscribeRequestParams, _subscribe)
_low.add_request_handler("resources/unsubscribe", types.UnsubscribeRequestParams, _unsubscribe)
_low.add_request_handler("logging/setLevel", types.SetLevelRequestParams, _set_level)


class NoteStreams:
    """Notes which sessions have their GET stream open: what is sent before that is lost."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def note(message: Message) -> None:
            await send(message)
            if message["type"] == "http.response.start" and message["status"] == 200:
                session_id = dict(scope["headers"]).get(SESSION_ID.encode(), b"").decode()
                listening[session_id].set()

        is_stream = scope["type"] == "http" and scope["method"] == "GET"
        await self._app(scope, receive, note if is_stream else send)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--stateless", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--sse", action="store_true", help="HTTP+SSE at /sse instead")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--certfile")
    parser.add_argument("--keyfile")
    options = parser.parse_args()
    if options.sse:
        app = server.sse_app()
    else:
        app = server.streamable_http_app(stateless_http=options.stateless, json_response=options.json)
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", options.port))
    sock.listen()
    print(sock.getsockname()[1], flush=True)
    config = uvicorn.Config(
        NoteStreams(app),
        log_level="critical",
        ssl_certfile=options.certfile,
        ssl_keyfile=options.keyfile,
        timeout_graceful_shutdown=1,
    )
    uvicorn.Server(config).run(sockets=[sock])


if __name__ == "__main__":
    main()
