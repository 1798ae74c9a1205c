"""A client of its own process, whose tokens are in files. Prints what the tool `counts` says.

`--kill` has it end like a process that is killed while a token is being stored: "before" or "after" the new
one takes the place of the old one. `--late` sets its clock forward by so many seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import time
from typing import Any

import httpx2
import trio

from trio_mcp import FileStorage, OAuth, open_connector


async def log_in(url: str) -> None:
    async with httpx2.AsyncClient(trust_env=False, follow_redirects=True) as client:
        await client.get(url)


async def main(url: str, directory: str) -> None:
    auth = OAuth(storage=FileStorage(directory), on_redirect=log_in)
    with trio.fail_after(20):
        async with open_connector(url, auth=auth) as c:
            print(json.dumps((await c.call_tool("counts")).structured_content))


def be_killed(when: str) -> None:
    replace = os.replace

    def killed(*args: Any, **options: Any) -> None:
        if when == "after":
            replace(*args, **options)
        os.kill(os.getpid(), signal.SIGKILL)

    os.replace = killed


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("directory")
    parser.add_argument("--kill", choices=("before", "after"))
    parser.add_argument("--late", type=float, default=0)
    options = parser.parse_args()
    if options.kill:
        be_killed(options.kill)
    now = time.time
    time.time = lambda: now() + options.late
    # Its own redirects do not go through the connector, and a login is over when they are.
    trio.run(main, options.url, options.directory)
