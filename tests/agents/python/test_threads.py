"""Blocking functions as agents: in a thread, in order, and left alone until they return."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import aclosing
from contextvars import ContextVar
from typing import Any

import pytest

from voicegw.agents.python.agent import load
from voicegw.agents.python.threads import run_in_thread
from voicegw.errors import AgentError, AgentProtocolError
from voicegw.events import Activity, Event, Message, Turn

HERE = __name__
SAID = Turn("7", (Message("user", "Hi"),))
caller: ContextVar[str] = ContextVar("caller")


class Gate:
    """A place in blocking code where it waits until the test lets it go on."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.loop = asyncio.get_running_loop()
        self.opened = threading.Event()
        self.log: list[str] = []

    def wait(self) -> None:
        self.loop.call_soon_threadsafe(self.reached.set)
        assert self.opened.wait(10)


def returning(turn: Turn, tone: str = "plain") -> str:
    return f"{turn.said}, {tone}"


def yielding(turn: Turn) -> Iterator[Event]:
    yield "One"
    yield Activity("look")
    yield "Two"


def failing(turn: Turn) -> Iterator[str]:
    yield "Well"
    raise KeyError("door")


def leaking(turn: Turn) -> str:
    return next(iter(()))


def leaving(turn: Turn) -> str:
    raise GeneratorExit


def silent(turn: Turn) -> None:
    return None


class Clerk:
    def reply(self, turn: Turn) -> str:
        return threading.current_thread().name


async def heard(target: str, **options: Any) -> list[Event]:
    async with aclosing(load(f"{HERE}:{target}", options).reply(SAID)) as events:
        return [event async for event in events]


@pytest.mark.wire
async def test_the_returned_text_of_a_function_is_spoken() -> None:
    assert await heard("returning") == ["Hi, plain"]
    assert await heard("returning", tone="merry") == ["Hi, merry"]


@pytest.mark.wire
async def test_the_events_of_a_generator_come_in_order() -> None:
    assert await heard("yielding") == ["One", Activity("look"), "Two"]


@pytest.mark.wire
async def test_a_blocking_method_runs_in_a_separate_thread() -> None:
    assert await heard("Clerk") == ["voicegw-blocking"]


@pytest.mark.wire
async def test_the_context_of_the_turn_reaches_the_thread() -> None:
    caller.set("Ann")
    async with aclosing(run_in_thread(lambda turn: caller.get())(SAID)) as words:
        assert [word async for word in words] == ["Ann"]


def test_a_blocking_function_is_logged_at_start(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "voicegw.error"):
        load(f"{HERE}:yielding")
    assert caplog.messages == [f"{HERE}:yielding blocks: each of its turns runs in a separate thread"]


@pytest.mark.wire
@pytest.mark.parametrize(
    ("target", "cause"), [("failing", KeyError), ("leaking", RuntimeError), ("leaving", RuntimeError)]
)
async def test_an_exception_in_the_thread_is_an_agent_error(target: str, cause: type[Exception]) -> None:
    with pytest.raises(AgentError) as raised:
        await heard(target)
    assert type(raised.value.__cause__) is cause


@pytest.mark.wire
async def test_a_function_that_returns_nothing_is_a_protocol_error() -> None:
    with pytest.raises(AgentProtocolError, match="yielded NoneType"):
        await heard("silent")


async def interrupted(function: Callable[[Turn], Any], gate: Gate) -> list[str]:
    """What was said when the caller interrupts where `function` waits; the gate opens a moment later."""
    said: list[str] = []

    async def listen() -> None:
        async with aclosing(run_in_thread(function)(SAID)) as words:
            async for word in words:
                said.append(word)  # noqa: PERF401 (an interruption must find what came before)

    listening = asyncio.create_task(listen())
    await gate.reached.wait()
    listening.cancel()
    await asyncio.wait([listening], timeout=0.01)
    assert not listening.done(), "it is closed while its code still runs"
    gate.opened.set()
    with pytest.raises(asyncio.CancelledError):
        await listening
    return said


@pytest.mark.wire
async def test_a_barge_in_closes_a_generator_at_its_next_yield() -> None:
    gate = Gate()

    def counting(turn: Turn) -> Iterator[str]:
        try:
            yield "One"
            gate.wait()
            yield "Two"
            gate.log.append("went on")
        finally:
            gate.log.append("closed")

    assert await interrupted(counting, gate) == ["One"]
    assert gate.log == ["closed"]


@pytest.mark.wire
async def test_a_barge_in_waits_for_a_function_and_drops_its_result() -> None:
    gate = Gate()

    def asking(turn: Turn) -> str:
        gate.wait()
        gate.log.append("returned")
        return "Hello"

    assert await interrupted(asking, gate) == []
    assert gate.log == ["returned"]


@pytest.mark.wire
async def test_closing_between_two_events_closes_the_generator() -> None:
    log: list[str] = []

    def counting(turn: Turn) -> Iterator[str]:
        try:
            yield "One"
            yield "Two"
        finally:
            log.append("closed")

    words = run_in_thread(counting)(SAID)
    assert await anext(words) == "One"
    await words.aclose()
    assert log == ["closed"]


@pytest.mark.wire
async def test_a_thread_ends_with_its_turn() -> None:
    async with aclosing(run_in_thread(lambda turn: threading.current_thread())(SAID)) as words:
        [thread] = [word async for word in words]
    thread.join(10)
    assert not thread.is_alive()
