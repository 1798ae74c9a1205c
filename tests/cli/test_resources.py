import json
from pathlib import Path

import mcp_types as types
import pytest

import trio_mcp
from trio_mcp.cli import resources

from ..real.children import Child
from .helpers import run

pytestmark = pytest.mark.real


def test_resources(full_server: Child) -> None:
    result = run("resources", full_server.url)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "memo://touched\ttouched\ttext/plain",
        "memo://bytes\tsome_bytes\tapplication/x-bytes",
        "greeting://{name}\tgreeting\ttext/plain",
    ]


def test_resources_as_json(full_server: Child) -> None:
    found = json.loads(run("resources", full_server.url, "--json").stdout)
    assert [each["uri"] for each in found["resources"]] == ["memo://touched", "memo://bytes"]
    assert [each["uriTemplate"] for each in found["resourceTemplates"]] == ["greeting://{name}"]


def test_no_resources(full_server: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(self: trio_mcp.Connector) -> list[object]:
        return []

    monkeypatch.setattr(trio_mcp.HttpConnector, "list_resources", nothing)
    monkeypatch.setattr(trio_mcp.HttpConnector, "list_resource_templates", nothing)
    result = run("resources", full_server.url)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "the server has no resources\n")


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (("memo://touched",), "some text\n"),
        (("memo://bytes",), "[resource memo://bytes, application/x-bytes, 4 characters of base64]\n"),
        (("greeting://{name}", "name=a b"), "hello a b\n"),
    ],
)
def test_read(full_server: Child, arguments: tuple[str, ...], shown: str) -> None:
    result = run("read", full_server.url, *arguments)
    assert (result.exit_code, result.stdout, result.stderr) == (0, shown, "")


def test_read_as_json(full_server: Child) -> None:
    result = json.loads(run("read", full_server.url, "memo://touched", "--json").stdout)
    assert result["contents"][0]["text"] == "some text"


@pytest.mark.parametrize(
    ("uri", "content"), [("memo://bytes", b"\x00\xff"), ("memo://touched", b"some text")]
)
def test_read_into_a_file(full_server: Child, uri: str, content: bytes) -> None:
    result = run("read", full_server.url, uri, "-o", "file")
    assert (result.exit_code, result.stdout) == (0, "")
    assert Path("file").read_bytes() == content


def test_arguments_want_a_template(full_server: Child) -> None:
    result = run("read", full_server.url, "memo://touched", "name=x")
    assert result.exit_code == 2
    assert "'memo://touched' is no template" in result.stderr


def test_what_is_no_base64() -> None:
    with pytest.raises(trio_mcp.ProtocolError, match="a:b is no base64"):
        resources._bytes(types.BlobResourceContents(uri="a:b", blob="$"))
