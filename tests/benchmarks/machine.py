"""What a child process reads of itself, and asks of the system."""

from __future__ import annotations

import resource
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

_ENOUGH_FILES: Final = 8192
_KIB: Final = 1024


def allow_many_files(enough: int = _ENOUGH_FILES) -> None:
    """A thousand connections are a thousand open files, more than some systems allow unless asked."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if resource.RLIM_INFINITY != soft < enough:
        most = enough if hard == resource.RLIM_INFINITY else min(hard, enough)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def forget_peak_memory() -> None:
    """Have `peak_memory` start anew, where the system can do that (Linux)."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def memory() -> int:
    """Bytes of this process that are in memory now (RSS); the peak, where the system tells only that."""
    return _status("VmRSS") or peak_memory()


def peak_memory() -> int:
    """The most bytes of this process that have been in memory at a time."""
    if (peak := _status("VmHWM")) is not None:
        return peak
    unit = 1 if sys.platform == "darwin" else _KIB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def page_faults() -> int:
    """How many pages this process has had brought in without a disk: memory that was new to it."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def _status(field: str) -> int | None:
    """A field of Linux's /proc/self/status, in bytes.

    Not `getrusage`: a child inherits its parent's peak there.
    """
    try:
        lines = Path("/proc/self/status").read_text("ascii", errors="replace").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * _KIB for line in lines if line.startswith(f"{field}:")), None)
