"""Configuration files of all dialects, right ones and wrong ones."""

from __future__ import annotations

import json
from typing import Any, Final

__all__ = ["CONFIGURATIONS"]


def _file(**server: Any) -> bytes:
    return json.dumps({"mcpServers": {"a": server}}, indent=1).encode()


_URL: Final = "https://example.com/mcp"

CONFIGURATIONS: Final[list[bytes]] = [
    b"",
    b"{}",
    b"[]",
    b'{"mcpServers": {}}',
    b'{"mcpServers": []}',
    b'{"mcpServers": {"": {}}}',
    b'{"mcpservers": {}}',
    b'{"mcpServers": {}, "servers": {}}',
    b'{"servers": {"a": {"command": "x"}}, "inputs": [{"id": "i", "default": "d"}, {"id": 1}, null]}',
    b'{"mcp": {"servers": {"a": {"url": "https://example.com/${input:i}"}}}}',
    b'{"context_servers": {"a": {"source": "custom", "command": "x", "args": []}}}',
    b'{"a": {"command": "x"}, "b": {"serverUrl": "https://example.com/mcp"}}',
    b'\xef\xbb\xbf{"mcpServers": {"a": {"command": "x",},},} // the end',
    b'{/* a "comment" */ "mcpServers": {"a": {"command": "//", "args": ["/*", "*/",]}}}',
    '{"mcpServers": {}}'.encode("utf-16"),
    _file(command="x", args=["-y", "${SECRET}"], env={"A": 1, "B": True, "C": None, "D": "e"}, cwd="."),
    _file(command="x", envFile=".env", cwd="${workspaceFolder}/a"),
    _file(command="x", env={"": "", "=": ""}),
    _file(command="", args="x"),
    _file(command="x", url=_URL),
    _file(command="x", headers={"a": "b"}),
    _file(command="x", type="http"),
    _file(command="${NOT_SET}", args=["${EMPTY:-${SECRET}}", "${", "$${SECRET}", "${a b}", "${env:}"]),
    _file(url=_URL, headers={"Authorization": "Bearer ${SECRET}"}),
    _file(url=_URL, headers={"a b": "c", "d": "\r\n"}),
    _file(url="${SECRET}"),
    _file(url="https://${SECRET}"),
    _file(url="https://user:${SECRET}@example.com:99999/mcp"),
    _file(url="wss://example.com/mcp", type="ws", sse_read_timeout=1),
    _file(url="http://[::1/mcp"),
    _file(url=_URL, type="streamable-http", timeout=0.5, connect_timeout=1e400),
    _file(url=_URL, type="carrier pigeon"),
    _file(url=_URL, timeout=60000),
    _file(url=_URL, timeout=-1, deadline="5", disabled="no", tools={}, verify=1),
    _file(url=_URL, tools=["a", "b"], disabledTools=["a"], required=False, optional=True, prefix="p"),
    _file(url=_URL, tools=["*"], protocolVersion="2025-11-25"),
    _file(url=_URL, tools=["a*"]),
    _file(url=_URL, protocol_version="1999-01-01"),
    _file(url=_URL, disabledTools=["a"]),
    _file(url=_URL, auth="${SECRET}"),
    _file(url=_URL, auth="a\nb"),
    _file(url=_URL, auth="oauth"),
    _file(url=_URL, auth={"CLIENT_ID": "c", "clientSecret": "${SECRET}", "scopes": ["a", "b"]}),
    _file(url=_URL, auth={"client_id": "c", "clientId": "d"}),
    _file(url=_URL, auth={"token_url": _URL}),
    _file(url=_URL, auth={"grant_type": "client_credentials", "client_id": "c", "private_key": "${SECRET}"}),
    _file(
        url=_URL, auth={"identity_provider": {"issuer": _URL, "subject_token": "${SECRET}", "client_id": "c"}}
    ),
    _file(url=_URL, auth={"issuer": "${SECRET}", "redirect_uri": "${SECRET}", "storage": "${SECRET}"}),
    _file(url=_URL, auth={"scope": "${SECRET}\n", "grant_type": "${SECRET}", "callback_port": -1}),
    _file(url=_URL, auth={"token_endpoint_auth_method": "${SECRET}", "client_metadata_url": "${SECRET}"}),
    _file(url=_URL, auth=1),
    _file(url=_URL, oauth=True),
    _file(url=_URL, oauth={"enabled": False}),
    _file(url=_URL, oauth={"enabled": True, "login_timeout": 1, "dpop": True, "signing_algorithm": "none"}),
    _file(url=_URL, auth="a", oauth={}),
    _file(url=_URL, headersHelper="x"),
    _file(url=_URL, sandboxEnabled=False, _comment="x", alwaysAllow=["a"], descriptionn=""),
    _file(url=_URL, serverUrl="https://example.org"),
    _file(command="x\0", args=["\ud800"]),
    _file(command="x", cwd="\0"),
    _file(command="x", envFile="${SECRET}"),
    _file(command="x", envFile="."),
    _file(command="x", args=["${SECRET}"] * 50),
    b'{"mcpServers": {"a": {"command": "x", "command": "y"}}}',
    b'{"mcpServers": {"a": {"command": "x", "env": {"A": NaN}}}}',
    b'{"mcpServers": {"a": {"url": "https://example.com", "timeout": 1e999}}}',
    b'{"mcpServers": {"a": {"command": "x", "env": {"A": 1e999}}}}',
]
