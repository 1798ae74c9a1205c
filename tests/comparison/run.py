"""What clients do at servers that misbehave, side by side.

python tests/comparison/run.py                    # trio_mcp and mcp.Client
python tests/comparison/run.py --with-others      # installs fastmcp and mcp-use into a cache folder first
python tests/comparison/run.py --with-others --write-docs
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import trio

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from tests.benchmarks.pythons import python_with  # noqa: E402
from tests.comparison.server import serve  # noqa: E402
from tests.comparison.worker import SCENARIOS  # noqa: E402

PAGE = ROOT / "docs" / "comparison.md"
WORKER = Path(__file__).with_name("worker.py")
MARKS = "<!-- begin: written by tests/comparison/run.py -->", "<!-- end -->"

SENTENCES = {
    "refused": "Nobody listens at the address. Raised:",
    "body": "The block's body raises `KeyError`. Out comes:",
    "cut": "The stream of a call ends without an answer. The call:",
    "wrong-id": "The answer has the id of another request. The call:",
    "status": "A call is answered by HTTP 503 with `Retry-After`. Raised:",
    "reset": "A call's connection is reset. The next call:",
    "expired": "The server has forgotten the session (404). The call:",
    "progress": "Progress comes 20 times at once, the callback takes 1 ms. Seen when the call returns:",
    "pages": "There are four tools on two pages. `list_tools()` gives:",
    "list-error": "Listing is answered by an error. `list_tools()`:",
    "cancel": "A call at a silent server is cancelled. It ends:",
    "close": "The server never answers the goodbye (DELETE). Closing takes:",
}


@dataclass
class Column:
    """A client, and what came of it."""

    client: str
    python: str
    version: str = ""
    found: dict[str, str] = field(default_factory=dict)

    async def fill(self, url: str, limiter: trio.CapacityLimiter, scenario: str) -> None:
        """Run one scenario, in a process of its own."""
        env = {**os.environ, "MCP_USE_ANONYMIZED_TELEMETRY": "false"}
        command = [self.python, str(WORKER), self.client, url, scenario]
        async with limiter:
            done = await trio.run_process(
                command, capture_stdout=True, stderr=subprocess.DEVNULL, env=env, check=False
            )
        try:
            result = json.loads(done.stdout.splitlines()[-1])
        except (ValueError, IndexError):
            self.found[scenario] = "the process died"
        else:
            self.version = result["version"]
            self.found.update(result["found"])


async def compare(columns: list[Column]) -> None:
    """Run everything."""
    async with trio.open_nursery() as server:
        url = await server.start(serve)
        limiter = trio.CapacityLimiter(2)
        async with trio.open_nursery() as nursery:
            for scenario in SCENARIOS:
                for column in columns:
                    nursery.start_soon(column.fill, url, limiter, scenario)
        server.cancel_scope.cancel(reason="all is done")


def table(columns: list[Column]) -> str:
    """The table, as Markdown."""
    head = "".join(f" | {column.client} {column.version}" for column in columns)
    lines = [f"|{head} |", f"| ---{' | ---' * len(columns)} |"]
    for scenario, sentence in SENTENCES.items():
        lines.append(f"| {sentence}{''.join(f' | {column.found[scenario]}' for column in columns)} |")
    return "\n".join(lines)


def main() -> None:
    """Called as a program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--with-others", action="store_true", help="fastmcp and mcp-use, too")
    parser.add_argument("--write-docs", action="store_true", help="write the table into docs/comparison.md")
    arguments = parser.parse_args()
    columns = [Column(client, sys.executable) for client in ("trio_mcp", "mcp.Client")]
    if arguments.with_others:
        columns += [
            Column("fastmcp.Client", python_with("fastmcp")),
            Column("mcp-use", python_with("mcp-use")),
        ]
    trio.run(compare, columns)
    text = table(columns)
    print(text)
    if arguments.write_docs:
        begin, end = (re.escape(mark) for mark in MARKS)
        page = PAGE.read_text("utf-8")
        new = "\n\n".join((MARKS[0], text, MARKS[1]))
        PAGE.write_text(re.sub(f"{begin}.*{end}", lambda match: new, page, flags=re.DOTALL), "utf-8")


if __name__ == "__main__":
    main()
