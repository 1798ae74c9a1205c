"""Child tasks, and the one exception that comes out of them.

Trio's nurseries raise groups. A connector raises one exception: this is the one place that chooses it.

The task tree of a connector:

    open_supervisor
    ├── services   what runs for as long as the connection does: readers, streams   (shielded)
    ├── errands    what is short and bounded: answers, cancel notices, goodbyes     (shielded)
    └── callbacks  the user's callbacks, beside the body of the user's block

Services and errands are shielded, because a cancelled block still says goodbye. Callbacks are not: a
cancelled block cancels them, and one that fails cancels the block.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeVarTuple

import trio

from .errors import InternalError

__all__ = ["FlatNursery", "Supervisor", "open_flat_nursery", "open_supervisor"]

Ts = TypeVarTuple("Ts")
logger: Final = logging.getLogger("trio_mcp")

_OVERRIDING: Final = (KeyboardInterrupt, SystemExit)


class FlatNursery:
    """A nursery that remembers what its children raised. Made by `open_flat_nursery` only."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self.failures: list[BaseException] = []

    @property
    def cancel_scope(self) -> trio.CancelScope:
        """The scope around the body and all children."""
        return self._nursery.cancel_scope

    @property
    def busy(self) -> int:
        """How many children are running."""
        return len(self._nursery.child_tasks)

    def start_soon(self, run: Callable[[*Ts], Awaitable[object]], *args: *Ts) -> None:
        """Run `run(*args)` as a child task."""
        name = getattr(getattr(run, "func", run), "__qualname__", None)  # a partial has none of its own
        self._nursery.start_soon(self._guard, run, args, name=name)

    async def _guard(self, run: Callable[[*Ts], Awaitable[object]], args: tuple[*Ts]) -> None:
        try:
            await run(*args)
        except BaseException as exc:
            if not _is_cancellation(exc):
                self.failures.append(exc)
            raise


@asynccontextmanager
async def open_flat_nursery() -> AsyncGenerator[FlatNursery]:
    """A nursery whose end raises one exception and never a group.

    KeyboardInterrupt and SystemExit come first, then what the body raised, the same object, then the
    first child's failure. What is not chosen is logged, and noted on what is.
    """
    body: BaseException | None = None
    raised: BaseException
    try:
        async with trio.open_nursery() as nursery:
            flat = FlatNursery(nursery)
            try:
                yield flat
            except BaseException as exc:
                body = exc
                raise
        return
    except BaseException as exc:  # noqa: ASYNC103 - raised below, where it takes no context from here
        raised = exc
    chosen = _choose(body, flat.failures, raised)
    context = chosen.__context__
    try:
        raise chosen
    finally:
        # `raise` sets __context__ to what is being handled further out: keep the exception's own.
        chosen.__context__ = context
        del body, raised, chosen, context, flat


def _choose(
    body: BaseException | None, failures: list[BaseException], raised: BaseException
) -> BaseException:
    if isinstance(body, BaseExceptionGroup) and _without_cancellation(raised) is raised:
        # The scope that cancelled parts of the body's own group has ended, and so have its Cancelled.
        body = _without_cancellation(body)
    real = [exc for exc in (body, *failures) if exc is not None and not _is_cancellation(exc)]
    if not real:
        # Nothing but cancellation, which belongs to a scope further out.
        return body if isinstance(body, trio.Cancelled) else _first_leaf(raised)
    chosen = next((exc for exc in real if isinstance(exc, _OVERRIDING)), real[0])
    for other in real:
        if other is not chosen:
            logger.error("also failed, while %r was on its way out", chosen, exc_info=other)
            chosen.add_note(f"also failed: {other!r}")
    return chosen


def _without_cancellation(exc: BaseException) -> BaseException | None:
    """`exc` without the `Cancelled` in it: itself if there are none, None if there is nothing else."""
    if not isinstance(exc, BaseExceptionGroup):
        return None if isinstance(exc, trio.Cancelled) else exc
    cancelled, rest = exc.split(trio.Cancelled)
    return exc if cancelled is None else rest


def _is_cancellation(exc: BaseException) -> bool:
    return _without_cancellation(exc) is None


def _first_leaf(exc: BaseException) -> BaseException:
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    return exc


async def _nothing() -> None:
    pass


class Supervisor:
    """The three places where a connector's tasks live. Made by `open_supervisor` only.

    Attributes:
        close: what comes first at the end, however the body ended.
        drain: what to wait for before callbacks are cancelled, where the body ended by itself.
        goodbye: what to say when the errands are done.
    """

    def __init__(self, services: FlatNursery, errands: FlatNursery, callbacks: FlatNursery) -> None:
        self.services: FlatNursery = services
        self.errands: FlatNursery = errands
        self.callbacks: FlatNursery = callbacks
        self.close: Callable[[], Awaitable[object]] = _nothing
        self.drain: Callable[[], Awaitable[object]] = _nothing
        self.goodbye: Callable[[], Awaitable[object]] = _nothing


@asynccontextmanager
async def open_supervisor(goodbye_timeout: float) -> AsyncGenerator[Supervisor]:
    """Supervise the tasks of one connection around the body.

    At the end, within `goodbye_timeout` seconds: `close`, and `drain` unless the body failed, have the first
    third; callbacks are cancelled; errands have until the second third is over; `goodbye` has what is left,
    and at least a third, should callbacks have taken too long to end. Then the services end.
    """
    share = goodbye_timeout / 3
    async with open_flat_nursery() as outer:
        services, errands = _ShieldedNursery(), _ShieldedNursery()
        outer.start_soon(services.run)
        outer.start_soon(errands.run)
        try:
            await services.ready.wait()
            await errands.ready.wait()
            async with _goodbye_after(share, errands) as end, open_flat_nursery() as callbacks:
                end.supervisor = Supervisor(services.nursery, errands.nursery, callbacks)
                try:
                    yield end.supervisor
                finally:
                    end.began = trio.current_time()
                    with trio.move_on_at(end.began + share, shield=True):
                        await end.supervisor.close()
                with trio.move_on_at(end.began + share):
                    await end.supervisor.drain()
                callbacks.cancel_scope.cancel(reason="the connector's block has ended")
        finally:
            services.stop("the connection is closed")
            errands.stop("the connection is closed")


class _End:
    supervisor: Supervisor
    began: float


@asynccontextmanager
async def _goodbye_after(share: float, errands: _ShieldedNursery) -> AsyncGenerator[_End]:
    end = _End()
    try:
        yield end
    finally:
        with trio.move_on_at(end.began + 2 * share, shield=True):
            await errands.finish()
        with trio.move_on_at(max(end.began + 3 * share, trio.current_time() + share), shield=True):
            try:
                await end.supervisor.goodbye()
            except Exception as exc:  # it must not hide what the body raised
                logger.warning("no goodbye was said: %r", exc)


class _ShieldedNursery:
    """A nursery in a task of its own, which cancellation from outside does not reach."""

    nursery: FlatNursery

    def __init__(self) -> None:
        self.ready = trio.Event()
        self._scope = trio.CancelScope(shield=True)
        self._closing = trio.Event()
        self._finished = trio.Event()

    async def run(self) -> None:
        try:
            with self._scope:
                async with open_flat_nursery() as self.nursery:
                    self.ready.set()
                    await self._closing.wait()
        except Exception as exc:
            raise InternalError(f"a background task of trio_mcp failed: {exc!r}") from exc
        finally:
            self._finished.set()

    async def finish(self) -> None:
        """Wait until all children have ended by themselves."""
        self._closing.set()
        await self._finished.wait()

    def stop(self, reason: str) -> None:
        self._scope.cancel(reason=reason)
