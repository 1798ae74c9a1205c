from __future__ import annotations

import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_mcp.errors import InternalError
from trio_mcp.supervision import FlatNursery, Supervisor, open_flat_nursery, open_supervisor


async def fail(error: BaseException) -> None:
    await trio.lowlevel.checkpoint()
    raise error


async def no_goodbye() -> None:
    pass


# The flat nursery


async def test_the_block_waits_for_its_children(autojump_clock: MockClock) -> None:
    ended: list[int] = []

    async def child(number: int) -> None:
        await trio.sleep(number)
        ended.append(number)

    async with open_flat_nursery() as flat:
        flat.start_soon(child, 2)
        flat.start_soon(child, 1)
        assert flat.busy == 2
    assert ended == [1, 2]
    assert flat.busy == 0
    assert flat.failures == []


async def test_its_scope_cancels_body_and_children() -> None:
    async with open_flat_nursery() as flat:
        flat.start_soon(trio.sleep_forever)
        flat.cancel_scope.cancel()
        await trio.sleep_forever()


async def test_what_the_body_raises_comes_out_as_the_same_object() -> None:
    context, error = ValueError("before"), KeyError("body")
    error.__context__ = context

    async def body() -> None:
        async with open_flat_nursery() as flat:
            flat.start_soon(trio.sleep_forever)
            raise error

    with pytest.raises(KeyError) as caught:
        await body()
    assert caught.value is error
    assert error.__context__ is context
    assert error.__cause__ is None
    assert not hasattr(error, "__notes__")
    frames = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
    assert frames[-1] == "body"


async def test_an_exception_keeps_its_context_though_another_is_being_handled() -> None:
    error = KeyError("body")
    try:
        raise ValueError("further out")
    except ValueError:
        with pytest.raises(KeyError):
            async with open_flat_nursery() as flat:
                flat.start_soon(fail, error)
    assert error.__context__ is None


async def test_what_the_body_raises_while_handling_another_keeps_that_as_its_context() -> None:
    first = ValueError("first")
    with pytest.raises(KeyError) as caught:
        async with open_flat_nursery():
            try:
                raise first
            except ValueError:
                raise KeyError("second")  # noqa: B904 - the context is the point
    assert caught.value.__context__ is first


async def test_a_cause_is_kept() -> None:
    cause = ValueError("cause")
    with pytest.raises(KeyError) as caught:
        async with open_flat_nursery():
            raise KeyError("body") from cause
    assert caught.value.__cause__ is cause


async def test_the_bodys_own_group_stays_as_it_is() -> None:
    group = ExceptionGroup("own", [ValueError(1), KeyError(2)])
    with pytest.raises(ExceptionGroup) as caught:
        async with open_flat_nursery() as flat:
            flat.start_soon(trio.sleep_forever)
            raise group
    assert caught.value is group
    assert len(group.exceptions) == 2


@pytest.mark.parametrize("error", [StopIteration(1), StopAsyncIteration(2), GeneratorExit()])
async def test_exceptions_that_generators_treat_specially_come_out_the_same(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught:
        async with open_flat_nursery():
            raise error
    assert caught.value is error
    assert error.__cause__ is None


async def test_a_childs_failure_comes_out_flat_and_ends_the_body() -> None:
    error = KeyError("child")
    with pytest.raises(KeyError) as caught:
        async with open_flat_nursery() as flat:
            flat.start_soon(trio.sleep_forever)
            flat.start_soon(fail, error)
            await trio.sleep_forever()
    assert caught.value is error
    assert error.__context__ is None
    assert not hasattr(error, "__notes__")


async def test_of_several_failures_the_first_comes_out_and_the_others_are_noted_and_logged(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = KeyError("first"), ValueError("second")

    async def stubborn() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise second

    with pytest.raises(KeyError) as caught:
        async with open_flat_nursery() as flat:
            flat.start_soon(stubborn)
            await wait_all_tasks_blocked()
            flat.start_soon(fail, first)
    assert caught.value is first
    assert first.__notes__ == ["also failed: ValueError('second')"]
    [record] = caplog.records
    assert record.name == "trio_mcp"
    assert record.exc_info is not None
    assert record.exc_info[1] is second


async def test_what_the_body_raises_comes_before_what_a_child_raised() -> None:
    child, body = KeyError("child"), ValueError("body")
    with pytest.raises(ValueError, match="body") as caught:
        async with open_flat_nursery() as flat:
            flat.start_soon(fail, child)
            try:
                await trio.sleep_forever()
            finally:
                raise body
    assert caught.value is body
    assert body.__notes__ == ["also failed: KeyError('child')"]


@pytest.mark.parametrize("urgent", [KeyboardInterrupt(), SystemExit(3)])
async def test_an_interrupt_comes_before_everything(urgent: BaseException) -> None:
    body = ValueError("body")
    with pytest.raises(type(urgent)) as caught:
        async with open_flat_nursery() as flat:
            flat.start_soon(fail, urgent)
            try:
                await trio.sleep_forever()
            finally:
                raise body
    assert caught.value is urgent
    assert urgent.__notes__ == ["also failed: ValueError('body')"]


@pytest.mark.parametrize("with_child", [False, True])
async def test_a_deadline_further_out_ends_the_block(autojump_clock: MockClock, with_child: bool) -> None:
    with trio.move_on_after(5) as scope:
        async with open_flat_nursery() as flat:
            if with_child:
                flat.start_soon(trio.sleep_forever)
            await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_cancellation_from_further_out_is_plain_cancelled_for_who_looks() -> None:
    looked: list[BaseException] = []
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            async with open_flat_nursery() as flat:
                flat.start_soon(trio.sleep_forever)
                await trio.sleep_forever()
        except BaseException as exc:
            looked.append(exc)
            raise
    assert [type(exc) for exc in looked] == [trio.Cancelled]


async def test_children_cancelled_after_the_body_ended_are_plain_cancelled_too() -> None:
    looked: list[BaseException] = []
    with trio.CancelScope() as scope:
        try:
            async with open_flat_nursery() as flat:
                flat.start_soon(trio.sleep_forever)
                flat.start_soon(trio.sleep_forever)
                scope.cancel()
        except BaseException as exc:
            looked.append(exc)
            raise
    assert [type(exc) for exc in looked] == [trio.Cancelled]
    assert scope.cancelled_caught


async def test_a_failure_comes_before_cancellation() -> None:
    error = KeyError("child")
    with pytest.raises(KeyError) as caught, trio.CancelScope() as scope:
        async with open_flat_nursery() as flat:
            flat.start_soon(fail_when_cancelled, error)
            await wait_all_tasks_blocked()
            scope.cancel()
            await trio.sleep_forever()
    assert caught.value is error


async def fail_when_cancelled(error: BaseException) -> None:
    try:
        await trio.sleep_forever()
    finally:
        raise error


CANCELLED_GROUP = (
    "supervision._choose takes a group that holds nothing but Cancelled (from a nursery of the body's own) "
    "for a failure"
)


async def test_a_childs_failure_comes_out_though_the_body_has_a_nursery_of_its_own() -> None:
    error = KeyError("child")
    caught: BaseException | None = None
    try:
        async with open_flat_nursery() as flat:
            flat.start_soon(fail, error)
            async with trio.open_nursery() as own:
                own.start_soon(trio.sleep_forever)
                await trio.sleep_forever()
    except BaseException as exc:
        caught = exc
    assert caught is error


async def test_a_sibling_that_was_only_cancelled_is_not_reported(caplog: pytest.LogCaptureFixture) -> None:
    error = KeyError("child")

    async def sibling() -> None:
        async with trio.open_nursery() as own:
            own.start_soon(trio.sleep_forever)
            own.start_soon(trio.sleep_forever)

    with pytest.raises(KeyError):
        async with open_flat_nursery() as flat:
            flat.start_soon(sibling)
            await wait_all_tasks_blocked()
            flat.start_soon(fail, error)
    assert not hasattr(error, "__notes__")
    assert not caplog.records


async def test_cancellation_by_the_block_itself_does_not_leave_it() -> None:
    caught: BaseException | None = None
    try:
        async with open_flat_nursery() as flat:
            flat.start_soon(fail, KeyError("child"))
            async with trio.open_nursery() as own:
                own.start_soon(fail_when_cancelled, ValueError("clean up"))
                await trio.sleep_forever()
    except BaseException as exc:
        caught = exc
    assert isinstance(caught, ExceptionGroup)


# The supervisor


@asynccontextmanager
async def supervised(
    goodbye: Callable[[], Awaitable[object]], goodbye_timeout: float
) -> AsyncGenerator[Supervisor]:
    async with open_supervisor(goodbye_timeout) as supervisor:
        supervisor.goodbye = goodbye
        yield supervisor


class Log(list[str]):
    async def until_cancelled(self, name: str) -> None:
        try:
            await trio.sleep_forever()
        finally:
            self.append(name)

    async def after(self, seconds: float, name: str) -> None:
        await trio.sleep(seconds)
        self.append(name)


async def test_at_the_end_callbacks_then_errands_then_goodbye_then_services(
    autojump_clock: MockClock,
) -> None:
    log = Log()
    async with supervised(lambda: log.after(0.1, "goodbye"), 1) as supervisor:
        supervisor.services.start_soon(log.until_cancelled, "service")
        supervisor.callbacks.start_soon(log.until_cancelled, "callback")
        supervisor.errands.start_soon(log.after, 0.5, "errand")
        await wait_all_tasks_blocked()
        log.append("body")
    assert log == ["body", "callback", "errand", "goodbye", "service"]


async def test_a_cancelled_block_still_says_goodbye(autojump_clock: MockClock) -> None:
    log = Log()
    with trio.move_on_after(5) as scope:
        async with supervised(lambda: log.after(0.1, "goodbye"), 1) as supervisor:
            supervisor.services.start_soon(log.until_cancelled, "service")
            supervisor.callbacks.start_soon(log.until_cancelled, "callback")
            supervisor.errands.start_soon(log.after, 5.5, "errand")
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert log == ["callback", "errand", "goodbye", "service"]


async def test_goodbye_is_bounded(autojump_clock: MockClock) -> None:
    start = trio.current_time()
    async with supervised(trio.sleep_forever, 3):
        pass
    assert trio.current_time() - start == 3


async def test_errands_and_goodbye_have_one_bound_together(autojump_clock: MockClock) -> None:
    start = trio.current_time()
    log = Log()
    async with supervised(trio.sleep_forever, 3) as supervisor:
        supervisor.errands.start_soon(log.after, 2, "errand")
    assert trio.current_time() - start == 3
    assert log == ["errand"]


async def test_an_errand_that_does_not_end_is_cancelled(autojump_clock: MockClock) -> None:
    start = trio.current_time()
    log = Log()
    async with supervised(no_goodbye, 3) as supervisor:
        supervisor.errands.start_soon(log.until_cancelled, "errand")
    assert trio.current_time() - start == 2  # the last third of the time is the goodbye's
    assert log == ["errand"]


async def test_a_failing_block_says_goodbye_and_raises_its_exception() -> None:
    log, error = Log(), KeyError("body")
    with pytest.raises(KeyError) as caught:
        async with supervised(lambda: log.after(0, "goodbye"), 1) as supervisor:
            supervisor.services.start_soon(log.until_cancelled, "service")
            await wait_all_tasks_blocked()
            raise error
    assert caught.value is error
    assert error.__context__ is None
    assert log == ["goodbye", "service"]


@pytest.mark.parametrize("error", [StopIteration(1), StopAsyncIteration(2)])
async def test_the_supervisor_passes_what_generators_treat_specially(error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        async with supervised(no_goodbye, 1):
            raise error
    assert caught.value is error


async def test_a_failing_callback_ends_the_block_with_its_exception() -> None:
    log, error = Log(), KeyError("callback")
    with pytest.raises(KeyError) as caught:
        async with supervised(lambda: log.after(0, "goodbye"), 1) as supervisor:
            supervisor.callbacks.start_soon(fail, error)
            await trio.sleep_forever()
    assert caught.value is error
    assert log == ["goodbye"]


async def test_a_failing_callback_is_not_lost_where_the_block_has_a_nursery() -> None:
    error = KeyError("callback")
    with pytest.raises(KeyError) as caught:
        async with supervised(no_goodbye, 1) as supervisor:
            supervisor.callbacks.start_soon(fail, error)
            async with trio.open_nursery() as own:
                own.start_soon(trio.sleep_forever)
                await trio.sleep_forever()
    assert caught.value is error


@pytest.mark.parametrize("place", ["services", "errands"])
async def test_a_failing_background_task_is_an_internal_error(place: str) -> None:
    log, error = Log(), KeyError("background")
    with pytest.raises(InternalError, match="background task") as caught:
        async with supervised(lambda: log.after(0, "goodbye"), 1) as supervisor:
            nursery: FlatNursery = getattr(supervisor, place)
            nursery.start_soon(fail, error)
            await trio.sleep_forever()
    assert caught.value.__cause__ is error
    assert log == ["goodbye"]


async def test_a_background_task_that_fails_during_goodbye_is_not_lost(autojump_clock: MockClock) -> None:
    error = KeyError("background")

    async def goodbye() -> None:
        supervisor.services.start_soon(fail, error)
        await trio.sleep(0.5)

    with pytest.raises(InternalError) as caught:
        async with supervised(goodbye, 1) as supervisor:
            pass
    assert caught.value.__cause__ is error


async def test_an_interrupt_in_a_background_task_stays_one() -> None:
    urgent = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt) as caught:
        async with supervised(no_goodbye, 1) as supervisor:
            supervisor.services.start_soon(fail, urgent)
            await trio.sleep_forever()
    assert caught.value is urgent


async def test_what_the_body_raised_comes_before_a_failing_goodbye() -> None:
    body = KeyError("body")

    async def goodbye() -> None:
        raise OSError("goodbye")

    caught: BaseException | None = None
    try:
        async with supervised(goodbye, 1):
            raise body
    except Exception as exc:
        caught = exc
    assert caught is body


async def test_a_block_that_is_cancelled_before_it_is_ready_does_not_hang(autojump_clock: MockClock) -> None:
    with trio.fail_after(10), trio.CancelScope() as scope:
        scope.cancel()
        async with supervised(trio.sleep_forever, 1):
            raise AssertionError("it was cancelled before")
    assert scope.cancelled_caught


async def test_what_is_to_be_drained_shares_the_bound_and_is_not_waited_for_after_a_failure(
    autojump_clock: MockClock,
) -> None:
    log = Log()
    async with supervised(lambda: log.after(9, "goodbye"), 3) as supervisor:
        supervisor.drain = lambda: log.after(0.5, "drained")
    assert log == ["drained"]
    assert trio.current_time() == 3
    with pytest.raises(KeyError):
        async with supervised(no_goodbye, 3) as supervisor:
            supervisor.drain = lambda: log.after(2, "drained again")
            raise KeyError
    assert log == ["drained"]
    assert trio.current_time() == 3
