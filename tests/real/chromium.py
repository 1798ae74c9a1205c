"""A headless Chromium as a child process, and its tabs, by the DevTools protocol over trio-websocket.

https://chromedevtools.github.io/devtools-protocol/
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

import trio_websocket

_NAMES: Final = ("chromium", "chromium-browser", "google-chrome")  # as in .ci/run
_START_SECONDS: Final = 60.0
_FLAGS: Final = (
    "--headless=new",
    "--no-sandbox",  # which root and most containers cannot have; it sees pages of this machine only
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--disable-sync",
    "--password-store=basic",
    "--remote-debugging-port=0",
)


def find_chromium() -> str | None:
    """The program, if there is one."""
    return next(filter(None, map(shutil.which, _NAMES)), None)


@contextmanager
def run_chromium(program: str, directory: Path) -> Generator[str]:
    """Run it for the block, with all that it keeps in `directory`; the URL of its DevTools."""
    profile, log = directory / "profile", directory / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [program, *_FLAGS, f"--user-data-dir={profile}", "about:blank"],
            env={**os.environ, "HOME": str(directory), "XDG_CONFIG_HOME": str(directory)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield _devtools(process, profile / "DevToolsActivePort", log)
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # the session of its own processes
        process.wait()


def _devtools(process: subprocess.Popen[bytes], file: Path, log: Path) -> str:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        lines = file.read_text().split("\n") if file.exists() else []
        if len(lines) == 2:
            return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
        time.sleep(0.02)
    raise RuntimeError(f"Chromium did not start: {log.read_text(errors='replace')[-2000:]}")


class Tab:
    """A tab with cookies and a history of its own. One task at a time uses it."""

    def __init__(self, devtools: trio_websocket.WebSocketConnection) -> None:
        self._devtools = devtools
        self._session: str | None = None
        self._last = 0
        self._events: list[dict[str, Any]] = []

    async def open(self) -> None:
        context = await self.call("Target.createBrowserContext", disposeOnDetach=True)
        target = await self.call("Target.createTarget", url="about:blank", **context)
        session = await self.call("Target.attachToTarget", flatten=True, **target)
        self._session = session["sessionId"]
        await self.call("Page.enable")
        await self.call("Page.setLifecycleEventsEnabled", enabled=True)

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """The result of a method of the protocol."""
        self._last += 1
        message: dict[str, Any] = {"id": self._last, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        await self._devtools.send_message(json.dumps(message))
        while True:
            answer = json.loads(await self._devtools.get_message())
            if answer.get("id") == self._last:
                break
            self._events.append(answer)
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    async def goto(self, url: str) -> None:
        """Go there, follow redirects, and return when the page has been loaded.

        Raises:
            OSError: there is no page.
        """
        self._events.clear()
        went = await self.call("Page.navigate", url=url)
        if "errorText" in went:
            raise OSError(went["errorText"])
        while not any(_is_loaded(event, went["loaderId"]) for event in self._events):
            self._events.append(json.loads(await self._devtools.get_message()))

    async def js(self, expression: str) -> Any:
        """The value of an expression, in the page; of what it is the promise of."""
        answer = await self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")


def _is_loaded(event: dict[str, Any], loader: str) -> bool:
    params = event.get("params", {})
    return event.get("method") == "Page.lifecycleEvent" and (params["name"], params["loaderId"]) == (
        "load",
        loader,
    )


@asynccontextmanager
async def open_tab(devtools: str) -> AsyncGenerator[Tab]:
    """A new tab, for the block."""
    async with trio_websocket.open_websocket_url(devtools) as connection:
        tab = Tab(connection)
        await tab.open()
        yield tab
