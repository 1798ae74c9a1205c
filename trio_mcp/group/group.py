"""`ConnectorGroup`: what the user holds of many servers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar, final

import mcp_types as types
import trio

from ..block import Block
from ..callbacks import ProgressCallback
from ..connector import Connector
from ..errors import AmbiguousName, NotConnected, UnknownName, UsageError
from ..features.response_cache import CacheMode
from ..features.uri_templates import matches_uri_template
from ..nearest import nearest_names
from ..supervision import open_flat_nursery
from .catalog import Catalog, Listing
from .events import GroupEvents, open_events
from .items import GroupPrompt, GroupResource, GroupResourceTemplate, GroupTool, made_of
from .member import Member
from .names import Names
from .states import ServerState

__all__ = ["ConnectorGroup"]

L = TypeVar("L", types.Tool, types.Prompt)
T = TypeVar("T", GroupTool, GroupPrompt)


@final
class ConnectorGroup(Block):
    """Connections to many MCP servers as one block. Made by `open_connectors` only.

        async with open_connectors({"github": "https://…", "files": StdioServer(…)}) as group:
            tools = await group.list_tools()
            result = await group.call_tool("github__create_issue", {"title": "…"})

    `group["github"]` is the server's connector; `in`, `len` and iteration are over the servers' names.
    """

    def __init__(self, members: Mapping[str, Member], names: Names) -> None:
        super().__init__()
        self._members = dict(members)
        self._names = names
        self._tools = Catalog(
            self._members,
            "tool",
            offered=lambda capabilities: capabilities.tools,
            ask=lambda connector, cache: connector.list_tools(cache=cache),
            wrap=self._named_tool,
            key=lambda tool: tool.name,
        )
        self._prompts = Catalog(
            self._members,
            "prompt",
            offered=lambda capabilities: capabilities.prompts,
            ask=lambda connector, cache: connector.list_prompts(cache=cache),
            wrap=self._named_prompt,
            key=lambda prompt: prompt.name,
        )
        self._resources = Catalog(
            self._members,
            "resource",
            offered=lambda capabilities: capabilities.resources,
            ask=lambda connector, cache: connector.list_resources(cache=cache),
            wrap=lambda member, each: made_of(GroupResource, each, {"server": member.name}),
            key=lambda resource: resource.uri,
        )
        self._templates = Catalog(
            self._members,
            "resource template",
            offered=lambda capabilities: capabilities.resources,
            ask=lambda connector, cache: connector.list_resource_templates(cache=cache),
            wrap=lambda member, each: made_of(GroupResourceTemplate, each, {"server": member.name}),
            key=lambda template: template.uri_template,
        )

    # The block

    @asynccontextmanager
    async def _lifetime(self) -> AsyncGenerator[None]:
        members = self._members.values()
        async with open_flat_nursery() as nursery:
            for member in members:
                member.reset()
                nursery.start_soon(member.run)
            try:
                await self._settle()
                yield
            finally:
                for member in members:
                    member.leave()

    def _is_open(self) -> UsageError:
        return UsageError("this group is open already; make one for each block")

    async def _settle(self) -> None:
        """Wait for the required servers, and for the optional ones until their deadlines."""
        began = trio.current_time()
        await trio.lowlevel.checkpoint()
        for member in self._members.values():
            if member.required:
                await member.settled.wait()  # one that fails ends the block
        for member in self._members.values():
            with trio.move_on_at(began + member.deadline):
                await member.settled.wait()

    def __repr__(self) -> str:
        states = ", ".join(f"{name}: {member.state.status}" for name, member in self._members.items())
        return f"<ConnectorGroup {states or 'of no servers'}>"

    # The servers

    @property
    def states(self) -> dict[str, ServerState]:
        """How each server is: a copy."""
        return {name: member.state for name, member in self._members.items()}

    def __getitem__(self, server: str) -> Connector:
        """The connector of a server, which is the same one when the server has been opened anew.

        Raises:
            UnknownName: there is no such server in the group.
            ServerUnavailable: it is not up.
        """
        return self._member(server).live()

    def _member(self, server: str) -> Member:
        if server not in self._members:
            near = nearest_names(str(server), self._members)
            names = f"; the nearest: {', '.join(map(repr, near))}" if near else ""
            raise UnknownName(f"there is no server {server!r:.200} in the group{names}", str(server), near)
        return self._members[server]

    def __contains__(self, server: object) -> bool:
        return server in self._members

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def events(self) -> AbstractAsyncContextManager[GroupEvents]:
        """Hear within a block of what happens in the group:

            async with group.events() as events:
                async for event in events:
                    match event:
                        case GroupEvent("github", Up() | ToolsChanged()): ...
                        case GroupEvent(server, Down(error)): ...
                        case Gap(): ...  # events were missed: look at all again

        Changes of lists are told of by servers that declare so, and are listened to only while such a block
        is open. How things are when it begins is seen in `states`. What comes after an `Up` is missed by
        nobody who lists anew at it. There may be several listeners at a time.

        Raises:
            NotConnected: the group's block is not open.
        """
        if self._block is None:
            raise NotConnected("not connected: the group's block is not open")
        return open_events(self._members.values())

    # Tools

    async def list_tools(self, *, cache: CacheMode = "use") -> Listing[GroupTool]:
        """The tools of all servers that are up, asked concurrently, in the order of the servers.

        A server that fails does not fail the others: why it is `missing` stands at the list.
        """
        return await self._tools.fetch(cache)

    async def call_tool(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        progress_callback: ProgressCallback | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> types.CallToolResult:
        """Call a tool by its name in the group; see `Connector.call_tool`.

        If the tool has not been listed yet, its server is asked for its tools first.

        Raises:
            UnknownName: there is no such tool; says the nearest ones.
            ServerUnavailable: its server is not up.
            ConnectorError: see `Connector.call_tool`, and `Connector.list_tools`.
        """
        tool = await self._find(self._tools, name)
        return (
            await self._members[tool.server]
            .live()
            .call_tool(tool.own_name, arguments, progress_callback=progress_callback, meta=meta)
        )

    def _named_tool(self, member: Member, tool: types.Tool) -> GroupTool | None:
        if not member.allows(tool.name):
            return None
        return made_of(GroupTool, tool, self._naming(member, tool.name))

    def _naming(self, member: Member, own: str) -> dict[str, str]:
        return {"name": self._names.unique(member.name, own), "server": member.name, "own_name": own}

    async def _find(self, catalog: Catalog[L, T], name: str) -> T:
        """What a name of the group stands for."""
        if not isinstance(name, str):
            raise UsageError(f"a name is a str, not {type(name).__name__}")
        found = catalog.find(name)
        if not found:
            # If it can be nobody's, it is the nearest names that are looked for.
            servers = self._names.servers_of(name)
            listing = await catalog.fetch(only=servers or catalog.unlisted())
            found = catalog.find(name)
            if not found and len(servers) == len(listing.missing) == 1:
                (error,) = listing.missing.values()
                raise error
            if not found:
                raise catalog.unknown(name, listing)
        (item,) = found.values()
        return item

    # Prompts

    async def list_prompts(self, *, cache: CacheMode = "use") -> Listing[GroupPrompt]:
        """The prompts of all servers that are up; see `list_tools`."""
        return await self._prompts.fetch(cache)

    async def get_prompt(
        self, name: str, arguments: Mapping[str, str] | None = None
    ) -> types.GetPromptResult:
        """A prompt by its name in the group, filled with its arguments; see `Connector.get_prompt`.

        Raises:
            UnknownName: there is no such prompt; says the nearest ones.
            ServerUnavailable: its server is not up.
            ConnectorError: see `Connector.request`.
        """
        prompt = await self._find(self._prompts, name)
        return await self._members[prompt.server].live().get_prompt(prompt.own_name, arguments)

    def _named_prompt(self, member: Member, prompt: types.Prompt) -> GroupPrompt:
        return made_of(GroupPrompt, prompt, self._naming(member, prompt.name))

    # Resources

    async def list_resources(self, *, cache: CacheMode = "use") -> Listing[GroupResource]:
        """The resources of all servers that are up; see `list_tools`. Two may have the same URI."""
        return await self._resources.fetch(cache)

    async def list_resource_templates(self, *, cache: CacheMode = "use") -> Listing[GroupResourceTemplate]:
        """The resource templates of all servers that are up; see `list_tools`."""
        return await self._templates.fetch(cache)

    async def read_resource(
        self, uri: str, *, server: str | None = None, cache: CacheMode = "use"
    ) -> types.ReadResourceResult:
        """The contents of a resource; see `Connector.read_resource`.

        Args:
            uri: which one.
            server: the server to ask; None for the one that has listed that URI, or, if none has, the one of
                whose templates the URI may have come. A URI is never tried at one server after the other: it
                may tell what is not every server's business.
            cache: see `Connector.read_resource`.

        Raises:
            AmbiguousName: there are several such servers.
            UnknownName: there is none.
            ServerUnavailable: it is not up.
            ConnectorError: see `Connector.request`.
        """
        uri = str(uri)
        connector = self[await self._server_of(uri) if server is None else server]
        return await connector.read_resource(uri, cache=cache)

    async def _server_of(self, uri: str) -> str:
        servers = list(self._resources.find(uri))
        if not servers:
            listing = await self._resources.fetch()
            servers = list(self._resources.find(uri))
        if not servers:
            templates = await self._templates.fetch()
            servers = list(
                dict.fromkeys(each.server for each in templates if matches_uri_template(each, uri))
            )
            listing.missing |= templates.missing
        match servers:
            case [server]:
                return server
            case []:
                raise self._resources.unknown(uri, listing)
            case several:
                names = ", ".join(map(repr, several))
                raise AmbiguousName(
                    f"resource {uri[:200]!r} may be of {names}: say which one by server=", uri, several
                )
