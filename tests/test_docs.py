"""What the documentation shows is what happens: its tests are run, and its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import mcp.server  # noqa: F401 - each run of pytester would import it anew, and cryptography cannot be
import pytest

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)

TESTS = [
    (path.name, block)
    for path in PAGES
    for block in BLOCK.findall(path.read_text("utf-8"))
    if re.search(r"^(async )?def test_", block, re.MULTILINE)
]


@pytest.mark.parametrize(
    "block", [block for _, block in TESTS], ids=lambda block: block.split("test_")[1][:40]
)
def test_a_test_in_the_documentation_passes(
    block: str, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    pytester.makeini("[pytest]\ntrio_mode = true\nfilterwarnings = error\n")
    pytester.makepyfile(block)
    pytester.runpytest_inprocess().assert_outcomes(passed=1)


def test_the_guide_to_testing_and_the_readme_have_their_examples() -> None:
    assert [name for name, _ in TESTS].count("testing.md") >= 6
    assert "README.md" in {name for name, _ in TESTS}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_within_the_project_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text("utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target
