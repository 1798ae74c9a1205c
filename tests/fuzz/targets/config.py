"""Configuration files: servers, or one error that shows no values; and JSON is JSON there, too."""

from __future__ import annotations

import json
import re
import secrets
import tempfile
from pathlib import Path
from typing import Any, Final

from tests.fuzz.cases.configurations import CONFIGURATIONS
from tests.fuzz.cases.json_values import VALUES
from trio_mcp.config import load_servers
from trio_mcp.config.jsonc import MAX_BYTES, MAX_DEPTH, parse_json
from trio_mcp.config.places import Place
from trio_mcp.errors import ConfigurationError
from trio_mcp.group.server import Server

CASES: Final = [
    *CONFIGURATIONS,
    *(value for _, _, value in VALUES),
    *(b'{"mcpServers":{"a":{"command":"a","env":{"b":%b}}}}' % value for _, _, value in VALUES),
    *(b'{"mcpServers":{"a":%b}}' % value for _, _, value in VALUES),
]
TOKENS: Final = [
    *(b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"//", b"/*", b"*/", b"\n", b"\xef\xbb\xbf", b"\xff"),
    *(b'"mcpServers":{', b'"servers":{', b'"a":{', b'"command":"x",', b'"args":[', b'"env":{', b'"envFile":'),
    *(
        b'"url":"https://a.test"',
        b'"headers":{',
        b'"auth":',
        b'"oauth"',
        b'"type":"',
        b'"timeout":',
        b'"tools":',
    ),
    *(
        b'"disabled":',
        b'"inputs":[{"id":"i","default":""}]',
        b'"required":',
        b'"client_id":',
        b'"private_key":',
    ),
    *(b"${", b"$${", b"${SECRET}", b"${EMPTY:-x}", b"${NOT_SET:-", b"${env:SECRET}", b"${input:i}", b"${/}"),
    *(b"null", b"true", b"false", b"0", b"-1", b"1e999", b"3601", b"NaN", b"\\u0000", b"\\ud800", b'"*"'),
]

MEMORY: Final = Path("/dev/shm")  # writing a file to a disk takes longer than all that is tested
PLACE: Final = tempfile.TemporaryDirectory(prefix="fuzz-config-", dir=MEMORY if MEMORY.is_dir() else None)
FILE: Final = Path(PLACE.name) / ".mcp.json"
ENV_FILE: Final = re.compile(r"\.env[-_]?file: ", re.IGNORECASE)
SECRET: Final = f"s3cret-{secrets.token_hex(8)}"  # nothing that the data could know
ENVIRONMENT: Final = {"SECRET": SECRET, "EMPTY": "", "HOME": "/home/somebody"}


def target(data: bytes) -> None:
    check_json(data)
    FILE.write_bytes(data)
    check_servers(milliseconds=len(data) % 2 == 0)


def check_servers(milliseconds: bool) -> None:
    try:
        servers = load_servers(FILE, env=ENVIRONMENT, include_disabled=True, milliseconds=milliseconds)
    except ConfigurationError as exc:
        text = str(exc)
        assert text.startswith(str(FILE)), text
        assert "\n" not in text, text
        # The path of an `envFile` is shown, whatever it is made of.
        assert ENV_FILE.search(text) or all(SECRET not in repr(each) for each in chain(exc)), text
        # What it was raised in could hold the file's text.
        assert all(isinstance(each, ConfigurationError | OSError) for each in chain(exc))
        return
    for name, server in servers.items():
        assert name
        assert isinstance(server, Server)
        assert SECRET not in repr(server)


def chain(exc: BaseException | None) -> list[BaseException]:
    """It, and what it was raised from or in."""
    return [] if exc is None else [exc, *chain(exc.__cause__ or exc.__context__)]


def check_json(data: bytes) -> None:
    """What JSON is, is read as such; with comments and trailing commas, something else may be."""
    expected = reference(data)
    try:
        value = parse_json(data, Place("file"))
    except ConfigurationError as exc:
        assert str(exc).startswith("file: ")
        assert expected is None or exc.message.endswith((" is there twice", "which no configuration is"))
        return
    assert expected is None or [value] == expected


def reference(data: bytes) -> list[Any] | None:
    if len(data) > MAX_BYTES:
        return None
    try:
        return [json.loads(data.decode("utf-8-sig"), parse_constant=lambda _: 1 / 0)]
    except (ValueError, ZeroDivisionError, RecursionError):
        return None


assert MAX_DEPTH >= 40  # which the cases count on
