"""A server on stdin and stdout whose tools and flags do what servers do in their bad hours."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

FLAGS = sys.argv[1:]
SLEEPER = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(1000)"
HEIR = (
    "import pathlib, signal, sys, time\n"
    "def leave(*args): pathlib.Path(sys.argv[1]).write_text('terminated'); sys.exit()\n"
    "signal.signal(signal.SIGTERM, leave)\n"
    "pathlib.Path(sys.argv[1]).write_text('ready')\n"
    "time.sleep(1000)\n"
)


def text(value: object) -> dict[str, Any]:
    return {"resultType": "complete", "content": [{"type": "text", "text": str(value)}]}


def call(name: str, arguments: dict[str, Any]) -> dict[str, Any] | None:
    match name:
        case "pid":
            return text(os.getpid())
        case "env":
            return text(json.dumps(dict(os.environ)))
        case "cwd":
            return text(os.getcwd())
        case "say":
            sys.stderr.write(arguments["text"])
            sys.stderr.flush()
        case "flood":
            for _ in range(64):
                sys.stderr.write("x" * 65536)
            sys.stderr.flush()
        case "exit":
            sys.stderr.write(arguments.get("text", ""))
            sys.stderr.flush()
            os._exit(arguments["code"])
        case "kill":
            os.kill(os.getpid(), arguments["signal"])
        case "close stdout":
            os.close(1)
            time.sleep(1000)
        case "close stdin":
            os.close(0)
            time.sleep(1000)
        case "stop reading":
            time.sleep(1000)
        case "leave a child":
            subprocess.Popen([sys.executable, "-c", SLEEPER])
            os._exit(7)
        case "have an heir":
            file = Path(arguments["file"])
            subprocess.Popen([sys.executable, "-c", HEIR, str(file)])
            while not file.exists() or file.read_text() != "ready":
                time.sleep(0.005)
        case "never":
            return None
    return text("done")


def answer(message: dict[str, Any]) -> dict[str, Any] | None:
    params = message.get("params", {})
    match message["method"]:
        case "server/discover" if "legacy" not in FLAGS:
            return {
                "resultType": "complete",
                "supportedVersions": ["2026-07-28"],
                "capabilities": {"tools": {}},
                "ttlMs": 0,
                "cacheScope": "private",
            }
        case "initialize":
            return {
                "protocolVersion": "2025-11-25",
                "serverInfo": {"name": "s", "version": "1"},
                "capabilities": {"tools": {}},
            }
        case "tools/call":
            return call(params["name"], params.get("arguments", {}))
    return None


def main() -> None:
    if "fail" in FLAGS:
        print("no API key", file=sys.stderr)
        sys.exit(3)
    if "stubborn" in FLAGS:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for _ in range(2):
            subprocess.Popen([sys.executable, "-c", SLEEPER])
    if "junk" in FLAGS:
        print("Welcome to the server!\n\n{not json}\n[1, 2]", flush=True)
    if "note interrupts" in FLAGS:
        signal.signal(signal.SIGINT, lambda *args: print("interrupted", file=sys.stderr, flush=True))
    for line in sys.stdin:
        message = json.loads(line)
        result = answer(message)
        if result is not None:
            print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
        elif message["method"] == "server/discover":
            error = {"code": -32601, "message": "what?"}
            print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "error": error}), flush=True)
    if "stubborn" in FLAGS:
        time.sleep(1000)
    if "long farewell" in FLAGS:
        sys.stdout.write("x" * 1_000_000)
        sys.stdout.flush()
        sys.stderr.write("y" * 1_000_000 + "\nfarewell\n")
        sys.stderr.flush()


main()
