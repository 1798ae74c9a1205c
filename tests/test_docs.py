"""What the documentation shows is what happens: its code is run, and its links lead somewhere.

The files of the tutorial are run by test_tutorial.py; whether the built site holds, by check_site.py.
"""

from __future__ import annotations

import re
import tomllib
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from mcp.server import MCPServer  # here: each run of pytester would import it anew, with other classes
from mcp.server.mcpserver import Context

import trio_mcp
import trio_mcp.middleware
import trio_mcp.testing
from tests.check_site import problems

pytest_plugins = ["pytester"]

# Each run of pytester forgets what it has imported itself, and the next would mix old classes with new ones.
for name in trio_mcp.__all__:
    getattr(trio_mcp, name)

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
TEST = re.compile(r"^(?:async )?def (test_\w+)", re.MULTILINE)

BLOCKS = [
    (path.name, block)
    for path in PAGES
    if path.name != "tutorial.md"
    for block in BLOCK.findall(path.read_text("utf-8"))
]
TESTS = [(page, block) for page, block in BLOCKS if TEST.search(block)]
OTHERS = [(page, block) for page, block in BLOCKS if not TEST.search(block)]


@pytest.mark.parametrize(
    "block", [block for _, block in TESTS], ids=lambda block: block.split("test_")[1][:40]
)
def test_a_test_in_the_documentation_passes(
    block: str, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    pytester.makeini("[pytest]\ntrio_mode = true\nfilterwarnings = error\n")
    pytester.makepyfile(block)
    pytester.runpytest_inprocess().assert_outcomes(passed=len(TEST.findall(block)))


def server_of_the_documentation() -> MCPServer[Any]:
    """What the code of a page without a server of its own calls."""
    server: MCPServer[Any] = MCPServer("example")

    @server.tool()
    async def add(a: int, b: int) -> int:
        return a + b

    @server.tool()
    async def copy_files(ctx: Context) -> str:
        await ctx.report_progress(1, 1, "copied")
        return "done"

    return server


@pytest.mark.parametrize(("page", "block"), OTHERS, ids=[page for page, _ in OTHERS])
def test_other_code_in_the_documentation_runs(
    page: str, block: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Whatever URL it names, it reaches a server in memory. `main(url)` is run, unless it runs by itself.
    def connector(
        target: str, *, auth: object = None, timeout: float = 5, **options: Any
    ) -> trio_mcp.Connector:
        return trio_mcp.MemoryConnector(server_of_the_documentation(), **options)

    clock = trio.testing.MockClock(autojump_threshold=0)
    monkeypatch.setattr(trio_mcp, "open_connector", connector)
    monkeypatch.setattr(trio_mcp, "HttpConnector", connector)
    monkeypatch.setattr(trio, "run", partial(trio.run, clock=clock))
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(block, page, "exec"), names)
    if "main" in names and "trio.run(" not in block:
        trio.run(names["main"], "https://example.com/mcp")
    if "main" in names:
        assert capsys.readouterr().out


def test_the_guide_to_testing_and_the_readme_have_their_examples() -> None:
    assert [name for name, _ in TESTS].count("testing.md") >= 6
    assert "README.md" in {name for name, _ in TESTS}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_within_the_project_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text("utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target
            if DOCS in page.parents:
                # The site has nothing else: name such a file instead.
                assert DOCS in (page.parent / target).resolve().parents, f"{target} is not in docs/"


def test_every_page_is_in_the_navigation() -> None:
    def pages(entry: object) -> list[str]:
        match entry:
            case str():
                return [entry]
            case dict():
                return [page for inner in entry.values() for page in pages(inner)]
            case list():
                return [page for inner in entry for page in pages(inner)]
            case _:
                raise TypeError(entry)

    nav = tomllib.loads((ROOT / "zensical.toml").read_text("utf-8"))["project"]["nav"]
    assert sorted(pages(nav)) == sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))


def test_every_public_name_is_in_the_reference() -> None:
    public = {
        f"{module.__name__}.{name}"
        for module in (trio_mcp, trio_mcp.middleware, trio_mcp.testing)
        for name in module.__all__
    } - {"trio_mcp.__version__"}
    pages = "\n".join(path.read_text("utf-8") for path in (DOCS / "reference").glob("*.md"))
    shown = re.findall(r"^::: (\S+)$", pages, re.MULTILINE)
    assert len(shown) == len(set(shown))
    assert public - set(shown) == set()


def test_a_site_that_does_not_hold_together_is_told(tmp_path: Path) -> None:
    tmp_path.joinpath("sub").mkdir()
    tmp_path.joinpath("a.html").write_text(
        '<p id="here"><a href="#here">x</a><a href="sub/b.html#there">x</a><a href="https://x.test">x</a>'
        '<a href="#gone">x</a><a href="gone.html">x</a><script src="https://cdn.test/x.js"></script>'
    )
    tmp_path.joinpath("sub", "b.html").write_text('<p id="there"><img src="../gone.svg">')
    assert problems(tmp_path) == [
        "a.html: #gone: no such place in it",
        "a.html: gone.html: no such file",
        "a.html: https://cdn.test/x.js: loaded from elsewhere",
        "sub/b.html: ../gone.svg: no such file",
    ]
    assert problems(tmp_path / "nothing") == [f"{tmp_path / 'nothing'} has no pages"]
