"""examples/skills.py: what it reads and when, and what it refuses."""

from __future__ import annotations

import base64
import hashlib
import runpy
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from mcp_types import INVALID_PARAMS
from pydantic import JsonValue

from examples.skills import (
    EXTENSION,
    MAX_FILES,
    MAX_SIZE,
    Skill,
    SkillRefused,
    Skills,
    check_entry,
    is_same,
    main,
    make_server,
    read_plain_lines,
    split_frontmatter,
)
from trio_mcp import Connector, MCPError, MessageTooLarge, UnsupportedFeature
from trio_mcp.testing import ScriptedServer

from .conftest import Serve

ROOT = "skill://git/branches"
SKILL = f"{ROOT}/SKILL.md"
NAMES = f"{ROOT}/references/names.md"
TEXT = "---\nname: branches\ndescription: How branches are named\n---\nSee `references/names.md`.\n"
FRONTMATTER: dict[str, JsonValue] = {"name": "branches", "description": "How branches are named"}


def described(uri: str, text: str) -> dict[str, JsonValue]:
    content = text.encode()
    return {"uri": uri, "digest": f"sha256:{hashlib.sha256(content).hexdigest()}", "size": len(content)}


def entry(**changes: Any) -> Skill:
    files = [described(SKILL, TEXT), described(NAMES, "topic/two-words\n")]
    return Skill.model_validate({"uri": SKILL, "frontmatter": FRONTMATTER, "resources": files} | changes)


@contextmanager
def refused(reason: str) -> Iterator[None]:
    with pytest.raises(SkillRefused, match=reason):
        yield


@pytest.fixture
def files() -> dict[str, str]:
    return {SKILL: TEXT, NAMES: "topic/two-words\n"}


@pytest.fixture
def server(files: dict[str, str], nursery: trio.Nursery, autojump_clock: object) -> ScriptedServer:
    server = make_server(files)
    nursery.start_soon(server.run)
    return server


def reads(server: ScriptedServer) -> list[str]:
    return [call.params["uri"] for call in server.all("resources/read")]


# The example as a program


PROGRAM = Path(__file__).parent.parent / "examples" / "skills.py"


def test_the_program_shows_what_is_read_and_what_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [str(PROGRAM)])
    runpy.run_path(str(PROGRAM), run_name="__main__")
    printed = capsys.readouterr().out
    assert "files read so far: 0\n" in printed
    assert "names.md: b'topic/two-words\\n'" in printed
    assert printed.count("refused: ") == 3
    assert "SKILL.md: it has 140 bytes, and 102 by its entry" in printed


def test_the_program_says_how_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [str(PROGRAM), "one", "too many"])
    with pytest.raises(SystemExit, match="python examples/skills.py URL"):
        runpy.run_path(str(PROGRAM), run_name="__main__")


async def test_the_program_lists_the_skills_of_a_server(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def open_it(url: str, **options: Any) -> Connector:
        assert url == server.url
        return server.connect(**options)

    monkeypatch.setattr("examples.skills.open_connector", open_it)
    await main(server.url)
    assert capsys.readouterr().out == f"{SKILL} - How branches are named\n"
    assert reads(server) == []
    server.capabilities = {}
    with pytest.raises(SystemExit, match=f"error: {server.url} has no skills"):
        await main(server.url)


# What is read, and when


async def test_a_file_is_read_when_it_is_needed_and_once(server: ScriptedServer) -> None:
    async with server.connect() as c:
        skills = Skills(c, "docs")
        [listed] = await skills.list_skills()
        assert await skills.get_skill(SKILL) == listed
        assert reads(server) == []
        skill = await skills.load(listed)
        assert reads(server) == [SKILL]
        for path in ("references/names.md", "./references/x/../names.md"):
            assert await skill.read(path) == b"topic/two-words\n"
        assert reads(server) == [SKILL, NAMES]
    assert skill.instructions == "See `references/names.md`.\n"
    assert skill.for_model().startswith(f"[Skill {SKILL} of the MCP server 'docs'")


async def test_all_pages_are_listed(serve: Serve, autojump_clock: object) -> None:
    server = serve(capabilities={"extensions": {EXTENSION: {}}})
    page = {"skills": [entry().model_dump()]}
    server.on["skills/list"] = lambda call: (
        page if call.params.get("cursor") == "" else {**page, "nextCursor": ""}
    )
    async with server.connect() as c:
        assert len(await Skills(c, "docs").list_skills()) == 2


async def test_a_list_without_an_end_is_left(
    serve: Serve, autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("examples.skills.MAX_PAGES", 3)
    server = serve(capabilities={"extensions": {EXTENSION: {}}})
    server.on["skills/list"] = lambda call: {"skills": [], "nextCursor": "more"}
    async with server.connect() as c:
        with refused("more than 3 pages"):
            await Skills(c, "docs").list_skills()


async def test_a_server_that_declares_no_skills_is_not_asked(serve: Serve, autojump_clock: object) -> None:
    server = serve()
    async with server.connect() as c:
        with pytest.raises(UnsupportedFeature, match="docs has no skills"):
            await Skills(c, "docs").list_skills()
        with pytest.raises(UnsupportedFeature):
            await Skills(c, "docs").get_skill(SKILL)
    assert server.methods() == ["server/discover"]


async def test_the_entry_of_another_skill_is_no_answer(server: ScriptedServer) -> None:
    async with server.connect() as c:
        with refused(f"skill://other/SKILL.md: the server answered with {SKILL}"):
            await Skills(c, "docs").get_skill("skill://other/SKILL.md")


async def test_a_changed_skill_is_used_by_the_entry_of_now(
    server: ScriptedServer, files: dict[str, str]
) -> None:
    # The server lets results be kept for an hour: the file must still be the one of the new entry.
    server.on["resources/read"] = lambda call: {
        "contents": [{"uri": SKILL, "text": files[SKILL]}],
        "ttlMs": 3_600_000,
        "cacheScope": "private",
    }
    async with server.connect() as c:
        skills = Skills(c, "docs")
        old = await skills.load((await skills.list_skills())[0])
        files[SKILL] += "And more.\n"
        with refused("bytes"):
            await skills.load(old.entry)
        new = await skills.load(await skills.get_skill(SKILL))
    assert new.instructions == old.instructions + "And more.\n"


# What a server sends


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (TEXT.replace("See", "Sea"), "its digest is not the one of its entry"),
        (TEXT + "!", f"it has {len(TEXT) + 1} bytes, and {len(TEXT)} by its entry"),
        ("", "it has 0 bytes"),
    ],
    ids=["digest", "size", "empty"],
)
@pytest.mark.parametrize("encoded", [False, True], ids=["text", "blob"])
async def test_a_skill_that_is_not_what_its_entry_says_is_not_loaded(
    server: ScriptedServer, sent: str, reason: str, encoded: bool
) -> None:
    content = {"blob": base64.b64encode(sent.encode()).decode()} if encoded else {"text": sent}
    server.on["resources/read"] = lambda call: {"contents": [{"uri": SKILL, **content}]}
    async with server.connect() as c:
        with refused(reason):
            await Skills(c, "docs").load(entry())


async def test_a_supporting_file_that_is_not_what_the_entry_says_is_not_used(
    server: ScriptedServer, files: dict[str, str]
) -> None:
    async with server.connect() as c:
        skill = await Skills(c, "docs").load(entry())
        files[NAMES] = "topic/too-wordy\n"
        for _ in range(2):  # what was refused is not kept
            with refused(f"{NAMES}: its digest"):
                await skill.read("references/names.md")


@pytest.mark.parametrize(
    "contents",
    [[], [{"uri": SKILL, "text": TEXT}] * 2, [{"uri": SKILL, "blob": "no base64!"}]],
    ids=["none", "two", "not base64"],
)
async def test_contents_that_are_not_one_file_are_refused(
    server: ScriptedServer, contents: list[Any]
) -> None:
    server.on["resources/read"] = lambda call: {"contents": contents}
    async with server.connect() as c:
        with refused("contents for one file|neither UTF-8 nor base64"):
            await Skills(c, "docs").load(entry())


@pytest.mark.parametrize(
    "frontmatter",
    [
        {"name": "branches", "description": "Something harmless"},
        {"name": "branches", "description": "How branches are named", "license": "MIT"},
    ],
    ids=["another value", "a field more"],
)
async def test_a_frontmatter_that_is_not_the_entrys_is_refused(
    server: ScriptedServer, frontmatter: dict[str, JsonValue]
) -> None:
    async with server.connect() as c:
        with refused("its frontmatter says .*, and its entry"):
            await Skills(c, "docs").load(entry(frontmatter=frontmatter))


async def test_another_reader_of_yaml_can_be_given(server: ScriptedServer) -> None:
    def read_yaml(text: str) -> object:
        assert text == "\nname: branches\ndescription: How branches are named\n"
        return frontmatter

    frontmatter: object = dict(FRONTMATTER)
    async with server.connect() as c:
        skills = Skills(c, "docs", read_yaml)
        await skills.load(entry())
        frontmatter = None
        with refused("its frontmatter says None"):
            await skills.load(entry())


async def test_a_reader_of_yaml_that_fails_refuses_the_skill(server: ScriptedServer) -> None:
    def read_yaml(text: str) -> object:
        raise RecursionError("too deep")

    async with server.connect() as c:
        with refused("cannot be read: too deep"):
            await Skills(c, "docs", read_yaml).load(entry())


async def test_a_file_that_the_server_does_not_have_is_its_error(
    server: ScriptedServer, files: dict[str, str]
) -> None:
    async with server.connect() as c:
        skill = await Skills(c, "docs").load(entry())
        del files[NAMES]
        with pytest.raises(MCPError) as caught:
            await skill.read("references/names.md")
    assert caught.value.code == INVALID_PARAMS


@pytest.mark.parametrize(
    "path",
    [
        "references/new.md",
        "../secrets/SKILL.md",
        "references/../../secrets/SKILL.md",
        "/references/names.md",
        "/etc/passwd",
        "references",
        "..\\names.md",
        "references%2Fnames.md",
        "",
        NAMES,
        "file:///etc/passwd",
    ],
)
async def test_a_path_that_the_entry_does_not_have_is_not_asked_for(
    server: ScriptedServer, path: str
) -> None:
    async with server.connect() as c:
        skill = await Skills(c, "docs").load(entry())
        with refused(f"{SKILL}: its entry has no file"):
            await skill.read(path)
    assert reads(server) == [SKILL]


async def test_a_file_that_floods_the_connection_is_stopped_by_its_bound(server: ScriptedServer) -> None:
    server.on["resources/read"] = lambda call: {"contents": [{"uri": SKILL, "text": "x" * 200_000}]}
    async with server.connect(max_message_size=100_000) as c:
        with pytest.raises(MessageTooLarge):
            await Skills(c, "docs").load(entry())


# Entries


def test_the_files_of_an_entry_are_found_by_their_paths() -> None:
    listed = [
        described(SKILL, TEXT),
        described(f"{ROOT}/a/two%20words.md", ""),
        described(f"{ROOT}/b/SKILL.md", ""),
    ]
    assert list(check_entry(entry(resources=listed))) == ["SKILL.md", "a/two words.md", "b/SKILL.md"]


@pytest.mark.parametrize(
    "uri",
    [
        "skill://git/secrets/SKILL.md",
        "skill://git/branches-too/x.md",
        "file:///etc/passwd",
        "urn:isbn:0",
        ROOT,
        f"{ROOT}/",
        f"{ROOT}/../secrets/SKILL.md",
        f"{ROOT}/a/../../secrets/SKILL.md",
        f"{ROOT}/%2e%2e/secrets/SKILL.md",
        f"{ROOT}/..%2Fsecrets/SKILL.md",
        f"{ROOT}/..%5Csecrets",
        f"{ROOT}/a//b",
        f"{ROOT}/./a",
    ],
)
def test_a_file_outside_of_the_skills_directory_spoils_its_entry(uri: str) -> None:
    with refused("is not in its directory"):
        check_entry(entry(resources=[described(SKILL, TEXT), described(uri, "")]))


BAD_ENTRIES: Mapping[str, tuple[dict[str, Any], str]] = {
    "another name": ({"frontmatter": {**FRONTMATTER, "name": "tags"}}, "ends with its name"),
    "no name": ({"frontmatter": {"description": "x"}}, "ends with its name"),
    "an empty name": (
        {"uri": "skill:///SKILL.md", "frontmatter": {**FRONTMATTER, "name": ""}},
        "ends with its name",
    ),
    "no SKILL.md": ({"uri": ROOT}, "ends with its name"),
    "no description": ({"frontmatter": {"name": "branches"}}, "no description"),
    "dynamic": ({"resources": "dynamic"}, "made on demand"),
    "resources missing": ({"resources": None}, "its resources are not valid"),
    "resources of another kind": ({"resources": "static"}, "its resources are not valid"),
    "no size": ({"resources": [{"uri": SKILL, "digest": "sha256:" + "0" * 64}]}, "not valid"),
    "a size that is none": ({"resources": [{**described(SKILL, TEXT), "size": True}]}, "not valid"),
    "a size below 0": ({"resources": [{**described(SKILL, TEXT), "size": -1}]}, "not valid"),
    "another digest": ({"resources": [{**described(SKILL, TEXT), "digest": "md5:" + "0" * 32}]}, "not valid"),
    "in upper case": (
        {"resources": [{**described(SKILL, TEXT), "digest": "sha256:" + "A" * 64}]},
        "not valid",
    ),
    "a line too many": (
        {"resources": [{**described(SKILL, TEXT), "digest": "sha256:" + "0" * 64 + "\n"}]},
        "not valid",
    ),
    "itself missing": ({"resources": [described(NAMES, "")]}, "it is not among its resources"),
    "itself in disguise": ({"resources": [described(f"{ROOT}/SKILL%2Emd", TEXT)]}, "it is not among"),
    "twice": ({"resources": [described(SKILL, TEXT)] * 2}, "is listed twice"),
    "twice in disguise": (
        {"resources": [described(SKILL, TEXT), described(f"{ROOT}/a", ""), described(f"{ROOT}/%61", "")]},
        "is listed twice",
    ),
    "too many files": (
        {"resources": [described(f"{ROOT}/{number}", "") for number in range(MAX_FILES + 1)]},
        "513 files and 0 bytes; 512 and 16777216 are the limit",
    ),
    "too many bytes": (
        {"resources": [{**described(uri, ""), "size": MAX_SIZE // 2 + 1} for uri in (SKILL, NAMES)]},
        "2 files and 16777218 bytes",
    ),
}


@pytest.mark.parametrize("case", BAD_ENTRIES)
async def test_a_bad_entry_is_refused_before_a_file_is_read(server: ScriptedServer, case: str) -> None:
    changes, reason = BAD_ENTRIES[case]
    async with server.connect() as c:
        with refused(reason):
            await Skills(c, "docs").load(entry(**changes))
    assert reads(server) == []


def test_a_skill_at_its_limits_is_valid() -> None:
    listed = [{**described(f"{ROOT}/{number}", ""), "size": 0} for number in range(MAX_FILES - 1)]
    files = check_entry(entry(resources=[{**described(SKILL, ""), "size": MAX_SIZE}, *listed]))
    assert len(files) == MAX_FILES


# Frontmatter


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"name: x\n",
        b"\n---\nname: x\n---\n",
        b"--- a\nname: x\n---\n",
        b"---\nname: x\n",
        b"---\nname: x\n----\n",
        b"\xef\xbb\xbf---\nname: x\n---\n",
        b"---\nname: \xff\n---\n",
        b"---\n" + b"a" * 70_000 + b"\n---\n",
    ],
    ids=range(9),
)
def test_a_file_without_a_frontmatter_is_refused(content: bytes) -> None:
    with refused("begin with a frontmatter|not UTF-8"):
        split_frontmatter(SKILL, content)


@pytest.mark.parametrize(
    "content", [b"---\nname: x\n---\nbody\n---\n", b"--- \r\nname: x\r\n---\r\nbody\r\n---\r\n"]
)
def test_the_frontmatter_is_what_stands_between_the_first_two_lines_of_dashes(content: bytes) -> None:
    assert split_frontmatter(SKILL, content) == ("\nname: x\n", "body\n---\n")


def test_lines_of_plain_text_are_read() -> None:
    assert read_plain_lines("\nname:  a-b\n\nallowed-tools: Bash(git:*) Read\nlicense: See a#b\n") == {
        "name": "a-b",
        "allowed-tools": "Bash(git:*) Read",
        "license": "See a#b",
    }


@pytest.mark.parametrize(
    "text",
    [
        "name",
        "name:",
        "name:x",
        'name: "x"',
        "name: 'x'",
        "name: |\n  x",
        "name: [x]",
        "name: &x y",
        "name: 1",
        "name: 2026-01-01",
        "name: ~",
        "name: yes",
        "name: False",
        "on: x",
        "name: x # y",
        "name: x: y",
        "name: x:",
        "name: x ",
        "name: x\n  y",
        "name: x\tz",
        "name: x\x85y: z",
        "name: x\u2028y: z",
        "name: x\rdescription: z",
        "name: x\nname: z",
        "  name: x",
        "# name: x",
        "? name",
    ],
)
def test_what_is_more_than_lines_of_plain_text_is_not_read(text: str) -> None:
    with pytest.raises(ValueError, match="line|plain text|no text"):
        read_plain_lines(text)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"a": [1, {"b": None}]}, {"a": [1.0, {"b": None}]}, True),
        ({"a": True}, {"a": 1}, False),
        ({"a": [False]}, {"a": [0]}, False),
        ([1, 2], [1], False),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ({1: "x"}, {"1": "x"}, False),
        ("1", 1, False),
        ([], {}, False),
        ("", None, False),
    ],
)
def test_json_is_compared_with_its_types(one: object, other: object, same: bool) -> None:
    assert is_same(one, other) is same
    assert is_same(other, one) is same


def test_a_frontmatter_that_contains_itself_is_compared_to_an_end() -> None:
    endless: list[object] = []
    endless.append(endless)
    assert not is_same(endless, [[[[]]]])
