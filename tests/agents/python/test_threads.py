"""Blocking functions as agents: in a thread, in order, and never interrupted before they return."""

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
TURN = Turn("7", (Message("user", "Hi"),))
caller: ContextVar[str] = ContextVar("caller")


class Gate:
    """Blocks code in a thread until the test opens it."""

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


class BlockingAgent:
    def reply(self, turn: Turn) -> str:
        return threading.current_thread().name


async def collect_events(target: str, **options: Any) -> list[Event]:
    async with aclosing(load(f"{HERE}:{target}", options).reply(TURN)) as events:
        return [event async for event in events]


@pytest.mark.wire
async def test_the_returned_text_of_a_function_is_spoken() -> None:
    assert await collect_events("returning") == ["Hi, plain"]
    assert await collect_events("returning", tone="merry") == ["Hi, merry"]


@pytest.mark.wire
async def test_the_events_of_a_generator_come_in_order() -> None:
    assert await collect_events("yielding") == ["One", Activity("look"), "Two"]


@pytest.mark.wire
async def test_a_blocking_method_runs_in_a_separate_thread() -> None:
    assert await collect_events("BlockingAgent") == ["voicegw-blocking"]


@pytest.mark.wire
async def test_the_context_of_the_turn_reaches_the_thread() -> None:
    caller.set("Ann")
    async with aclosing(run_in_thread(lambda turn: caller.get())(TURN)) as words:
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
        await collect_events(target)
    assert type(raised.value.__cause__) is cause


@pytest.mark.wire
async def test_a_function_that_returns_nothing_is_a_protocol_error() -> None:
    with pytest.raises(AgentProtocolError, match="yielded NoneType"):
        await collect_events("silent")


async def interrupt(function: Callable[[Turn], Any], gate: Gate) -> list[str]:
    """Cancel the reply where `function` waits at the gate, then open it. Return the words before."""
    collected: list[str] = []

    async def listen() -> None:
        async with aclosing(run_in_thread(function)(TURN)) as words:
            async for word in words:
                collected.append(word)  # noqa: PERF401 (an interruption must find what came before)

    listening = asyncio.create_task(listen())
    await gate.reached.wait()
    listening.cancel()
    await asyncio.wait([listening], timeout=0.01)
    assert not listening.done(), "the reply must not close while its code runs"
    gate.opened.set()
    with pytest.raises(asyncio.CancelledError):
        await listening
    return collected


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

    assert await interrupt(counting, gate) == ["One"]
    assert gate.log == ["closed"]


@pytest.mark.wire
async def test_a_barge_in_waits_for_a_function_and_drops_its_result() -> None:
    gate = Gate()

    def asking(turn: Turn) -> str:
        gate.wait()
        gate.log.append("returned")
        return "Hello"

    assert await interrupt(asking, gate) == []
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

    words = run_in_thread(counting)(TURN)
    assert await anext(words) == "One"
    await words.aclose()
    assert log == ["closed"]


@pytest.mark.wire
async def test_a_thread_ends_with_its_turn() -> None:
    async with aclosing(run_in_thread(lambda turn: threading.current_thread())(TURN)) as words:
        [thread] = [word async for word in words]
    thread.join(10)
    assert not thread.is_alive()
