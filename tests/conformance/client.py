"""The client that the official conformance suite examines: one process is one scenario.

    MCP_CONFORMANCE_SCENARIO=tools_call python tests/conformance/client.py http://localhost:3000

The suite starts a mock server, then this command with the server's URL as its last argument and the
scenario's name in the environment (`run.py` starts the suite). It watches what reaches its server. So a
scenario here is only what a user of the library would write; what is checked is the library's own doing.
Nothing pins a protocol version: finding it out is a part of what is examined.

An error ends the process with its traceback on stderr and the exit code 1.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

import httpx2
import mcp_types as types
import trio

from trio_mcp import IdentityProvider, OAuth, RequestContext, open_connector

sys.path.insert(0, str(Path(__file__).parents[2]))
from examples.skills import EXTENSION, SkillRefused, Skills

Scenario: TypeAlias = Callable[[str], Awaitable[None]]

DEADLINE: Final = 20.0
"""Seconds for a scenario: less than the suite's 30, so that a traceback tells where a client hangs."""


async def call_first_tool(url: str) -> None:
    """List the tools and call the first one: what most scenarios want, and all that we do not know."""
    async with open_connector(url) as c:
        for tool in (await c.list_tools())[:1]:
            await c.call_tool(tool.name, {"a": 2, "b": 3})


async def call_every_tool(url: str) -> None:
    """Call all tools that the library lets through: those it should have refused must not be among them."""
    async with open_connector(url) as c:
        for tool in await c.list_tools():
            names = tool.input_schema.get("properties", {})
            await c.call_tool(tool.name, dict.fromkeys(names, "value"))


async def list_tools(url: str) -> None:
    """List the tools, and do nothing with them: for a server that answers no calls."""
    async with open_connector(url) as c:
        await c.list_tools()


async def visit_everything(url: str) -> None:
    """Use tools, resources and prompts: each method has headers of its own."""
    async with open_connector(url) as c:
        for tool in await c.list_tools():
            await c.call_tool(tool.name)
        for resource in await c.list_resources():
            await c.read_resource(resource.uri)
        for prompt in await c.list_prompts():
            await c.get_prompt(prompt.name)


async def declare_capabilities(url: str) -> None:
    """Give a callback for everything a server may ask for, so that all capabilities are declared."""
    async with open_connector(
        url, sampling_callback=refuse_to_sample, elicitation_callback=accept_nothing, roots=[]
    ) as c:
        await c.list_tools()


async def accept_defaults(url: str) -> None:
    """Accept a form and fill in nothing: the library sends the defaults of its fields."""
    async with open_connector(url, elicitation_callback=accept_nothing) as c:
        await c.call_tool("test_client_elicitation_defaults")


async def lose_the_stream(url: str) -> None:
    """Call a tool whose stream ends before the answer: the library comes back for it."""
    async with open_connector(url) as c:
        await c.call_tool("test_reconnection")


async def echo_schema(url: str) -> None:
    """Send a tool's input schema back as the library gave it to us: no keyword of it may be lost."""
    async with open_connector(url) as c:
        tools = {tool.name: tool for tool in await c.list_tools()}
        schema = tools["json_schema_2020_12_tool"].input_schema
        await c.call_tool("json_schema_echo", {"schema": schema})


async def replay_calls(url: str) -> None:
    """List the tools, then make the calls that the suite asks for."""
    context: Mapping[str, Any] = json.loads(os.environ["MCP_CONFORMANCE_CONTEXT"])
    async with open_connector(url) as c:
        await c.list_tools()
        for call in context["toolCalls"]:
            await c.call_tool(call["name"], call["arguments"])


async def answer_rounds(url: str) -> None:
    """Call tools that ask back before they answer, and tools that do not."""
    async with open_connector(url, elicitation_callback=confirm) as c:
        for tool in await c.list_tools():
            await c.call_tool(tool.name)


async def list_skills(url: str) -> None:
    """List the skills, and load none: no file may be read."""
    async with open_connector(url, extensions={EXTENSION: {}}) as c:
        await Skills(c, url).list_skills()


async def use_skills(url: str) -> None:
    """Load all skills, and read all files of those that are what their entries say."""
    async with open_connector(url, extensions={EXTENSION: {}}) as c:
        skills = Skills(c, url)
        for entry in await skills.list_skills():
            try:
                skill = await skills.load(entry)
            except SkillRefused as exc:
                print(exc)
                continue
            for path in skill.files:
                await skill.read(path)


async def accept_nothing(context: RequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
    return types.ElicitResult(action="accept", content={})


async def confirm(context: RequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
    return types.ElicitResult(action="accept", content={"confirmed": True})


async def refuse_to_sample(
    context: RequestContext, params: types.CreateMessageRequestParams
) -> types.ErrorData:
    return types.ErrorData(code=types.INVALID_REQUEST, message="this client has no model")


def context() -> dict[str, Any]:
    """What the suite gives a scenario beside the URL."""
    given: dict[str, Any] = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT") or "{}")
    return given


async def follow(url: str) -> str:
    """Log in as the suite has it, where nobody has to: the redirect comes at once."""
    async with httpx2.AsyncClient(trust_env=False) as browser:
        return (await browser.get(url)).headers["location"]


async def use_tools(url: str, auth: OAuth) -> None:
    """List the tools and call the first one, twice."""
    async with open_connector(url, auth=auth) as c:
        for tool in (await c.list_tools())[:1]:
            await c.call_tool(tool.name)
            await c.call_tool(tool.name)


async def log_in(url: str) -> None:
    """The authorization code grant, of a client that the suite has registered, or of one that registers."""
    given = context()
    client = {name: given[name] for name in ("client_id", "client_secret", "issuer") if name in given}
    document = "https://conformance-test.local/client-metadata.json"
    await use_tools(url, OAuth(**client, client_metadata_url=document, on_redirect=follow))


async def show_credentials(url: str) -> None:
    """The client credentials grant, by a secret or a key."""
    given = context()
    auth = OAuth(
        grant_type="client_credentials",
        client_id=given["client_id"],
        client_secret=given.get("client_secret"),
        private_key=given.get("private_key_pem"),
        signing_algorithm=given.get("signing_algorithm"),
    )
    await use_tools(url, auth)


async def be_vouched_for(url: str) -> None:
    """Enterprise-managed authorization: an identity provider vouches for the person."""
    given = context()
    provider = IdentityProvider(
        issuer=given["idp_issuer"], client_id=given["idp_client_id"], subject_token=given["idp_id_token"]
    )
    auth = OAuth(
        grant_type="urn:ietf:params:oauth:grant-type:jwt-bearer",
        client_id=given["client_id"],
        client_secret=given["client_secret"],
        identity_provider=provider,
    )
    await use_tools(url, auth)


async def be_a_workload(url: str) -> None:
    """Workload identity: the platform that runs us has given us a JWT."""
    given = context()
    auth = OAuth(
        grant_type="urn:ietf:params:oauth:grant-type:jwt-bearer",
        client_id=given["client_id"],
        assertion=given["valid_jwt"],
    )
    await use_tools(url, auth)


SCENARIOS: Final[Mapping[str, Scenario]] = {
    "auth/client-credentials-basic": show_credentials,
    "auth/client-credentials-jwt": show_credentials,
    "auth/enterprise-managed-authorization": be_vouched_for,
    "auth/wif-jwt-bearer": be_a_workload,
    "elicitation-sep1034-client-defaults": accept_defaults,
    "http-custom-headers": replay_calls,
    "http-invalid-tool-headers": call_every_tool,
    "http-standard-headers": visit_everything,
    "json-schema-2020-12-preservation": echo_schema,
    "json-schema-ref-no-deref": list_tools,
    "request-metadata": declare_capabilities,
    "sep-2322-client-request-state": answer_rounds,
    "sep-2640-client-no-prefetch": list_skills,
    "sep-2640-client-verify-digest": use_skills,
    "sep-2640-client-verify-frontmatter": use_skills,
    "sep-2640-client-verify-size": use_skills,
    "sse-retry": lose_the_stream,
}
"""The scenarios that want something else than `call_first_tool`, or than `log_in` in `auth/`."""


async def main(url: str) -> None:
    name = os.environ.get("MCP_CONFORMANCE_SCENARIO", "")
    scenario = SCENARIOS.get(name, log_in if name.startswith("auth/") else call_first_tool)
    with trio.fail_after(DEADLINE):
        await scenario(url)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: client.py URL")
    trio.run(main, sys.argv[-1])
