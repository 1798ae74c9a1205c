"""The server of `mcp_server.py`, on its standard input and output."""

from __future__ import annotations

import os

from mcp_server import listening, server  # type: ignore[import-not-found]


@server.tool()  # type: ignore[untyped-decorator]
def die(code: int) -> None:
    os._exit(code)


def main() -> None:
    listening[""].set()  # there are no streams to be opened first
    server.run("stdio")


if __name__ == "__main__":
    main()
