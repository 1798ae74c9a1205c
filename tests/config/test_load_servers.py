from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.config.parts import oauth, program
from trio_mcp import ConfigurationError, StdioServer
from trio_mcp.auth import IdentityProvider, MemoryStorage
from trio_mcp.config import load_servers
from trio_mcp.config.models import OAuthModel, ServerModel
from trio_mcp.group.server import Server

URL = "https://example.com/mcp"
SECRET = "s3cr3t"


def load(**options: Any) -> Server:
    return load_servers({"mcpServers": {"x": options}}, env={"TOKEN": SECRET})["x"]


def problem(**options: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(**options)
    exc: BaseException | None = caught.value
    while exc is not None:
        assert SECRET not in f"{exc!r} {exc}"
        exc = exc.__context__
    return str(caught.value).removeprefix("mcpServers.x")


def test_a_server_has_the_groups_options() -> None:
    server = load(
        url=URL,
        required=False,
        restart=False,
        deadline=90,
        prefix="y",
        tools=["a"],
        connect_timeout=60,
        protocolVersion="2025-11-25",
        verify=False,
    )
    assert (server.required, server.restart, server.deadline, server.prefix) == (False, None, 90, "y")
    assert server.tools == frozenset({"a"})
    assert server.options == {"connect_timeout": 60, "protocol_version": "2025-11-25", "verify": False}


@pytest.mark.parametrize(
    ("options", "required"),
    [({}, True), ({"required": False}, False), ({"optional": True}, False), ({"optional": False}, True)],
)
def test_a_server_is_required_or_optional(options: dict[str, bool], required: bool) -> None:
    assert load(url=URL, **options).required is required
    assert load(url=URL, required=True, optional=False).required


def test_without_auth_there_is_none() -> None:
    for options in ({}, {"auth": None}, {"oauth": False}, {"oauth": {"enabled": False}}, {"oauth": None}):
        assert "auth" not in load(url=URL, **options).options


@pytest.mark.parametrize(
    "options", [{"auth": "oauth"}, {"auth": {}}, {"oauth": {"enabled": True}}, {"oauth": True}]
)
def test_oauth_is_there_where_it_is_asked_for(options: dict[str, Any]) -> None:
    oauth(load(url=URL, **options))


def test_oauth_has_its_options() -> None:
    server = load(
        url=URL,
        auth={
            "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
            "identityProvider": {"subjectToken": "${TOKEN}", "issuer": "https://id.example.com"},
            "clientName": "me",
            "scope": None,
            "login_timeout": 9,
            "storage": "memory",
        },
    )
    auth = oauth(server)
    assert auth.identity_provider == IdentityProvider(subject_token=SECRET, issuer="https://id.example.com")
    assert (auth.client_name, auth.login_timeout) == ("me", 9)


def test_a_program_may_give_objects() -> None:
    flow, storage = httpx2.BasicAuth("a", "b"), MemoryStorage()
    assert load(url=URL, auth=flow).options["auth"] is flow
    assert oauth(load(url=URL, auth={"storage": storage})).storage is storage
    provider = IdentityProvider(subject_token=lambda: "x", issuer="https://id.example.com")
    options = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "identity_provider": provider}
    assert oauth(load(url=URL, auth=options)).identity_provider is provider
    assert load(command="x", args=("a",), cwd=Path("y")).target == StdioServer("x", ("a",), cwd=Path("y"))


def test_env_takes_numbers_and_booleans_as_text() -> None:
    env = program(load(command="x", env={"A": 1, "B": True, "C": 1.5, "D": "${TOKEN}", "E": None})).env
    assert env == {"A": "1", "B": "true", "C": "1.5", "D": SECRET}


def test_the_options_of_the_other_kind_may_be_there_if_they_are_empty() -> None:
    assert load(url=URL, command=None, args=[], cwd=None).target == URL
    assert load(command="x", url=None, headers={}, verify=False, oauth=False).target == StdioServer("x")


def test_comments_and_keys_of_hosts_are_passed_over() -> None:
    assert (
        load(
            **{
                "url": URL,
                "_comment": 1,
                "$schema": 1,
                "//": 1,
                "x-note": 1,
                "autoApprove": 1,
                "sandboxEnabled": False,
            }
        ).options
        == {}
    )


def test_two_spellings_may_say_the_same() -> None:
    assert load(url=URL, type="sse", transport="sse").options == {"transport": "sse"}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ": a server has a `command` or a `url`"),
        ({"url": URL, "command": "x"}, ".url: it does not go with 'command', which is there, too"),
        ({"serverUrl": URL, "cwd": "x"}, ".cwd: it does not go with 'serverUrl', which is there, too"),
        ({"command": "x", "headers": {"A": SECRET}}, ".headers: it does not go with 'command'"),
        ({"command": "x", "auth": SECRET}, ".auth: it does not go with 'command'"),
        ({"url": URL, "httpUrl": "https://other"}, ".httpUrl: it says something else than 'url' does"),
        ({"url": URL, "type": "stdio"}, ".type: 'stdio' needs a `command`"),
        ({"url": URL, "transport": "ws"}, ".transport: 'ws' needs a URL of ws:// or wss://"),
        ({"url": "ws://a/b", "type": "http"}, ".type: 'http' needs a URL of http:// or https://"),
        ({"command": "x", "type": "sse"}, ".type: 'sse' needs a URL of http:// or https://"),
        (
            {"url": URL, "type": "grpc"},
            ".type: 'grpc' is none of stdio, http, streamable-http, sse and websocket",
        ),
        (
            {"url": "example.com/mcp"},
            ".url: the URL of an endpoint is wanted, with its scheme",
        ),
        ({"url": f"http://{SECRET}:x/"}, ".url: the URL of an endpoint is wanted, such as https://"),
        ({"url": "${TOKEN}"}, ".url: the URL of an endpoint is wanted"),
        ({"url": ""}, ".url: it is empty"),
        ({"ulr": URL}, ".ulr: there is no such option of a server: did you mean 'url'?"),
        ({"servrUrl": URL}, ".servrUrl: there is no such option of a server: did you mean 'server_url'?"),
        ({"zzzzzz": SECRET}, ".zzzzzz: there is no such option of a server"),
        ({"url": URL, "headersHelper": "x"}, ".headersHelper: no program is run for headers"),
        ({"command": "x", "sandboxEnabled": True}, ".sandboxEnabled: there is no sandbox here"),
        (
            {"url": URL, "headers": {"X": f"{SECRET}\n"}},
            ".headers.X: the value of header 'X' is",
        ),
        (
            {"url": URL, "headers": {"a b": SECRET}},
            ".headers['a b']: 'a b' is not the name",
        ),
        ({"url": URL, "headers": {"X": 5}}, ".headers.X: a string is wanted, and not a number"),
        ({"url": URL, "headers": [SECRET]}, ".headers: an object is wanted, and not a list"),
        ({"url": URL, "auth": f"Bearer {SECRET}"}, ".auth: a bearer token is visible ASCII without spaces"),
        ({"url": URL, "auth": 5}, ".auth: a string or an object is wanted, and not a number"),
        ({"url": URL, "auth": b"x"}, ".auth: auth must be a token (str)"),
        ({"url": URL, "oauth": SECRET}, ".oauth: an object is wanted, and not a string"),
        ({"url": URL, "auth": SECRET, "oauth": {}}, ".oauth: 'auth' says how to authorize, too"),
        (
            {"url": URL, "auth": {"clientSecrt": SECRET}},
            ".auth.clientSecrt: there is no such option: did",
        ),
        ({"url": URL, "auth": {"client_secret": SECRET}}, ".auth: a client_secret needs its client_id"),
        ({"url": URL, "auth": {"clientId": 5}}, ".auth.clientId: a string is wanted, and not a number"),
        ({"url": URL, "auth": {"scopes": [5]}}, ".auth.scopes: a string is wanted, and not a list"),
        ({"url": URL, "auth": {"scope": "a", "scopes": "b"}}, ".auth.scopes: 'scope' says it, too"),
        ({"url": URL, "auth": {"tokenUrl": URL}}, ".auth.tokenUrl: endpoints are found by the `issuer`"),
        (
            {"url": URL, "auth": {"grantType": "${TOKEN}"}},
            ".auth: grant_type must be one of",
        ),
        ({"url": URL, "auth": {"assertion": 5}}, ".auth.assertion: a string is wanted, and not a number"),
        ({"url": URL, "auth": {"identityProvider": 5}}, ".auth.identityProvider: an object is wanted"),
        (
            {"url": URL, "auth": {"identityProvider": {"subjectTokn": SECRET}}},
            ".auth.identityProvider.subjectTokn: there is no such option: did you mean 'subject_token'?",
        ),
        (
            {
                "url": URL,
                "auth": {
                    "grantType": "urn:ietf:params:oauth:grant-type:jwt-bearer",
                    "identityProvider": {"issuer": URL},
                },
            },
            ".auth: identity_provider: ",
        ),
        ({"url": URL, "timeout": "5"}, ".timeout: a number is wanted, and not a string"),
        ({"url": URL, "timeout": True}, ".timeout: a number is wanted, and not a boolean"),
        ({"url": URL, "timeout": 0}, ".timeout: a number above 0 is wanted"),
        ({"url": URL, "timeout": 10**400}, ".timeout: a number is wanted, and not so large a one"),
        ({"url": URL, "timeout": 30000}, ".timeout: 30000 s is more than an hour"),
        ({"url": URL, "protocol_version": "1"}, ": protocol_version must be"),
        ({"url": URL, "disabled": "yes"}, ".disabled: true or false is wanted, and not a string"),
        ({"url": URL, "required": True, "optional": True}, ".optional: it contradicts 'required'"),
        ({"url": URL, "tools": {"a": {}}}, ".tools: a list is wanted, and not an object"),
        ({"url": URL, "tools": ["read_*"]}, ".tools: the tools are named one by one, without patterns"),
        ({"url": URL, "tools": [1]}, ".tools[0]: a string is wanted, and not a number"),
        ({"command": ["npx"]}, ".command: a string is wanted, and not a list"),
        ({"command": "x", "env": {"A": [SECRET]}}, ".env.A: a string is wanted, and not a list"),
        ({"command": "x", "env": {"A": float("inf")}}, ".env.A: a number above 0 is wanted"),
        ({"command": "x", "env": {"A=B": SECRET}}, ".env['A=B']: a variable cannot have this name"),
        ({"command": "x", "args": ["a", "${NO}"]}, ".args[1]: the variable NO is not set"),
        ({"command": "x", "args": ["a\0"]}, ".args[0]: there is a character in it that no text can have"),
        ({"command": "x", "args": ["\ud800"]}, ".args[0]: there is a character in it"),
        ({"command": object()}, ".command: a string is wanted, and not of type object"),
        (
            {"command": "x", "args": [1, 2, 3, 4, 5, 6]},
            ".args[0]: a string is wanted, and not a number; mcpServers.x.args[1]: a string",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_path_and_without_its_value(
    options: dict[str, Any], expected: str
) -> None:
    assert problem(**options).startswith(expected)


def test_of_many_problems_some_are_shown() -> None:
    assert problem(command="x", args=[1] * 9).endswith(
        "args[4]: a string is wanted, and not a number; and 4 more"
    )


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ([], "a configuration is an object with `mcpServers`, and not a list"),
        ({}, "it has no `mcpServers`"),
        ({"theme": "dark"}, "it has no `mcpServers`"),
        ({"mcpServer": {}}, "mcpServer: it has no `mcpServers`: did you mean 'mcpServers'?"),
        ({"mcpServers": {}, "mcp_servers": {}}, "mcp_servers: did you mean 'mcpServers'?"),
        ({"mcpServers": {}, "servers": {}}, "servers: there are servers under 'mcpServers', too"),
        ({"mcpServers": []}, "mcpServers: an object is wanted, with a server for each name, and not a list"),
        ({"mcpServers": {"x": URL}}, "mcpServers.x: a server is an object, and not a string"),
        ({"mcpServers": {"": {"url": URL}}}, "mcpServers['']: a server has a name"),
        ({"mcpServers": {"my x": {"a": 1}}}, "mcpServers['my x'].a: there is no such option"),
        ({"x": {"command": "a"}, "y": {"b": 1}}, "it has no `mcpServers`"),
    ],
)
def test_the_servers_must_be_there(tmp_path: Path, data: object, expected: str) -> None:
    file = tmp_path / "mcp.json"
    file.write_text(json.dumps(data))
    with pytest.raises(ConfigurationError) as caught:
        load_servers(file)
    assert str(caught.value).startswith(f"{file}: {expected}")


def test_servers_may_be_all_that_there_is() -> None:
    assert list(load_servers({"x": {"command": "a"}, "y": {"url": URL}})) == ["x", "y"]


def test_questions_of_other_kinds_are_no_answers() -> None:
    inputs = [1, {"id": 2, "default": "x"}, {"id": "a", "default": 3}, {"id": "b", "default": "y"}]
    data = {"inputs": inputs, "servers": {"x": {"command": "${input:b}"}}}
    assert program(load_servers(data)["x"]).command == "y"


def test_a_mapping_that_is_not_json_is_refused() -> None:
    cycle: dict[str, Any] = {}
    cycle["mcpServers"] = cycle
    with pytest.raises(ConfigurationError, match="more than 50 levels deep"):
        load_servers(cycle)
    with pytest.raises(ConfigurationError, match="mcpServers: a key is a string, and not a number"):
        load_servers({"mcpServers": {1: {}}})
    with pytest.raises(TypeError, match="source must be a path or a mapping, not int"):
        load_servers(5)  # type: ignore[arg-type]


def test_servers_that_are_disabled_or_not_wanted_need_no_variables() -> None:
    data = {
        "mcpServers": {
            "on": {"command": "x"},
            "off": {"command": "${NO}", "disabled": True},
            "not on": {"url": "${NO}", "enabled": False},
            "other": {"command": "y", "env": {"A": "${NO}"}},
        }
    }
    assert list(load_servers(data, env={}, only=["on", "off"])) == ["on"]
    assert list(load_servers(data, env={"NO": URL})) == ["on", "other"]
    assert list(load_servers(data, env={"NO": URL}, include_disabled=True)) == [
        "on",
        "off",
        "not on",
        "other",
    ]
    with pytest.raises(ConfigurationError, match=r"mcpServers.off.command: the variable NO"):
        load_servers(data, env={}, include_disabled=True)


def test_a_server_that_is_wanted_must_be_there() -> None:
    data = {"mcpServers": {"github": {"command": "x"}, "files": {"command": "x"}}}
    with pytest.raises(
        ConfigurationError, match="mcpServers: there is no server 'gihub': did you mean 'github'"
    ):
        load_servers(data, only=["files", "gihub"])
    with pytest.raises(ConfigurationError, match="there is no server 'x'; there are 'github', 'files'"):
        load_servers(data, only={"x"})
    with pytest.raises(ConfigurationError, match="there is no server 'x'$"):
        load_servers({"mcpServers": {}}, only={"x"})
    with pytest.raises(TypeError, match="only must be a collection"):
        load_servers(data, only="github")


def test_the_environment_of_the_process_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIO_MCP_TEST", "program")
    assert program(load_servers({"x": {"command": "${TRIO_MCP_TEST}"}})["x"]).command == "program"


def test_a_relative_file_is_about_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mcp.json").write_text('{"mcpServers": {"x": {"command": "${workspaceFolder}/x", "cwd": "y"}}}')
    target = program(load_servers("mcp.json")["x"])
    assert (target.command, target.cwd) == (f"{tmp_path}/x", tmp_path / "y")
    here = program(load_servers({"x": {"command": "${workspaceFolder}/x", "cwd": "y"}})["x"])
    assert (here.command, here.cwd) == (f"{tmp_path}/x", Path("y"))


def test_a_file_in_the_home_directory_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "mcp.json").write_text('{"mcpServers": {}}')
    assert load_servers("~/mcp.json") == {}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("none.json", "none.json: there is no such file"),
        ("folder", "folder: it is a directory"),
        ("pipe", "pipe: it is no regular file: reading it could take forever"),
        ("large.json", "large.json: larger than 1 MiB"),
        ("mcp.json/x", "x: Not a directory"),
        ("a\0b", "it is not the name of a file"),
    ],
)
def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, name: str, expected: str) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "mcp.json").write_text("{}")
    (tmp_path / "large.json").write_bytes(b" " * ((1 << 20) + 1))
    with pytest.raises(ConfigurationError) as caught:
        load_servers(tmp_path / name)
    assert expected in str(caught.value)
    assert str(caught.value).count(str(tmp_path)) == 1


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "no.env: there is no such file"),
        (b"A=\xff", "the file is not a text in UTF-8"),
        (b"A=\0", "the file is not a text in UTF-8"),
        (b"A=1\ns3cr3t", "line 2 is not NAME=value"),
    ],
)
def test_an_env_file_that_cannot_be_read_is_told(
    tmp_path: Path, content: bytes | None, expected: str
) -> None:
    file = tmp_path / "mcp.json"
    file.write_text('{"mcpServers": {"x": {"command": "x", "envFile": "no.env"}}}')
    if content is not None:
        (tmp_path / "no.env").write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        load_servers(file)
    assert str(caught.value).startswith(f"{file}: mcpServers.x.envFile: ")
    assert str(caught.value).endswith(expected)


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([URL, "wss://a/b", "${TOKEN}", "${NO:-x}", "stdio", "http", "oauth", "*", "file"])
)
KEYS = st.sampled_from(
    [
        *ServerModel.model_fields,
        *OAuthModel.model_fields,
        *("serverUrl", "clientId", "mcp", "mcpServers", "servers", "inputs"),
    ]
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=12,
)
SERVERS = st.fixed_dictionaries(
    {}, optional={"command": LEAVES, "url": LEAVES, "auth": VALUES, "env": VALUES, "headers": VALUES}
) | st.dictionaries(KEYS, VALUES, max_size=4)


@settings(deadline=None)  # it reads files, and imports what only some need
@given(
    VALUES | st.fixed_dictionaries({"mcpServers": st.dictionaries(st.text(max_size=3), SERVERS, max_size=2)})
)
def test_anything_loads_or_is_a_configuration_error(
    tmp_path_factory: pytest.TempPathFactory, data: Any
) -> None:
    file = tmp_path_factory.getbasetemp() / "any.json"
    file.write_text(json.dumps(data))
    try:
        servers = load_servers(file, env={"TOKEN": SECRET})
    except ConfigurationError as exc:
        assert SECRET not in str(exc)
    else:
        assert all(isinstance(server, Server) for server in servers.values())
        assert SECRET not in repr(servers)
