"""Agents that push their events: into a sink directly, or through the generator that `reply` gives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, nullcontext

import pytest

from tests.support.fake_agent import fake_agent
from voicegw.errors import AgentUnavailable
from voicegw.events import Event, Finish, Turn
from voicegw.turns.streaming import (
    MAX_EVENTS,
    MAX_TEXT_CHARACTERS,
    EventSink,
    StreamingAgent,
    consume,
    push_rest,
    stream_events,
)

TURN = Turn("t1", ())


class Counter(StreamingAgent):
    """Pushes numbers, two at a time, until nobody takes them; then notes that it ended."""

    def __init__(self, last: int = 4, failure: Exception | None = None) -> None:
        self.last, self.failure = last, failure
        self.ends: list[str] = []

    async def stream(self, turn: Turn, sink: EventSink) -> None:
        try:
            for number in range(1, self.last + 1):
                if not sink.push(str(number)):
                    return
                if not number % 2:
                    sink.flush()
                    await asyncio.sleep(1)
            if self.failure is not None:
                raise self.failure
            sink.push(Finish())
        except asyncio.CancelledError:
            self.ends.append("cancelled")
            await asyncio.sleep(0.1)
            raise
        finally:
            self.ends.append("closed")

    async def warm(self, call: str | None = None) -> None: ...
    async def call_ended(self, call: str) -> None: ...
    async def aclose(self) -> None: ...


class RecordingSink:
    def __init__(self, max_events: int = 100) -> None:
        self.lines: list[Event] = []
        self.max_events = max_events

    def push(self, event: Event) -> bool:
        self.lines.append(event)
        return len(self.lines) < self.max_events

    def flush(self) -> None:
        self.lines.append("|")


@pytest.mark.parametrize("agent", [Counter(3), fake_agent("1", "2", 0.1, "3", Finish())])
async def test_every_kind_of_agent_streams_into_a_sink(agent: Counter) -> None:
    sink = RecordingSink()
    await stream_events(agent, TURN, sink)
    assert sink.lines == ["1", "2", "|", "3", Finish()]


@pytest.mark.parametrize("agent", [Counter(), fake_agent("1", "2", "3")])
async def test_sink_that_takes_no_more_ends_the_reply(agent: Counter) -> None:
    sink = RecordingSink(max_events=2)
    await stream_events(agent, TURN, sink)
    assert sink.lines[:2] == ["1", "2"]
    assert "3" not in sink.lines


async def test_reply_gives_the_events_and_then_the_failure() -> None:
    reply = Counter(3, AgentUnavailable("gone")).reply(TURN)
    assert [await anext(reply) for _ in range(3)] == ["1", "2", "3"]
    with pytest.raises(AgentUnavailable):
        await anext(reply)


async def test_closing_a_reply_cancels_the_stream_once_and_waits_for_it() -> None:
    agent = Counter()
    async with aclosing(agent.reply(TURN)) as events:
        assert await anext(events) == "1"
    assert agent.ends == ["cancelled", "closed"]


async def test_agent_without_stream_says_so() -> None:
    with pytest.raises(NotImplementedError):
        await StreamingAgent().stream(TURN, RecordingSink())


async def count_turns(stop: asyncio.Event) -> int:
    """Return how many turns the event loop took until `stop` was set."""
    turns = 0
    while not stop.is_set():
        await asyncio.sleep(0)
        turns += 1
    return turns


async def collect(*given: Event, limit: int = 1_000_000) -> tuple[list[Event], int, int]:
    """Return the events that are passed on, the number of idle calls, and the turns of the event loop."""

    async def reply() -> AsyncGenerator[Event, None]:
        for event in given:
            yield event

    events: list[Event] = []
    idle_calls: list[int] = []

    def on_event(event: Event) -> bool:
        events.append(event)
        return len(events) < limit

    stop = asyncio.Event()
    counting = asyncio.create_task(count_turns(stop))
    await asyncio.sleep(0)
    await consume(reply(), on_event, lambda: idle_calls.append(len(events)))
    stop.set()
    return events, len(idle_calls), await counting


async def test_events_that_come_together_take_one_turn_of_the_loop() -> None:
    events, idle_calls, turns = await collect("a", "b", "c")
    assert (events, idle_calls, turns) == (["a", "b", "c"], 0, 1)


async def test_many_events_without_a_wait_take_several_turns() -> None:
    events, idle_calls, turns = await collect(*["a"] * (5 * MAX_EVENTS))
    assert (len(events), idle_calls) == (5 * MAX_EVENTS, 5)
    assert turns >= 5


@pytest.mark.parametrize("rest", ["", "b"])
async def test_a_long_text_is_passed_on_in_pieces(rest: str) -> None:
    events, idle_calls, turns = await collect("a" * 3 * MAX_TEXT_CHARACTERS + rest, "end")
    assert "".join(map(str, events)) == "a" * 3 * MAX_TEXT_CHARACTERS + rest + "end"
    assert {len(str(event)) for event in events[:3]} == {MAX_TEXT_CHARACTERS}
    assert turns - 1 == idle_calls == (3 if rest else 2)


@pytest.mark.parametrize(("max_events", "pushed"), [(9, ["a", "b", "c"]), (2, ["a", "b"])])
async def test_rest_is_pushed_until_the_sink_takes_no_more(max_events: int, pushed: list[Event]) -> None:
    sink = RecordingSink(max_events)
    push_rest(iter(["a", "b", "c"]), sink)
    assert sink.lines == pushed


class Reader(StreamingAgent):
    """Pushes its events at once, and then fails if it has a failure."""

    def __init__(self, *events: Event, failure: Exception | None = None) -> None:
        self.events, self.failure, self.taken = events, failure, list[bool]()

    async def stream(self, turn: Turn, sink: EventSink) -> None:
        self.taken = [sink.push(event) for event in self.events]
        sink.flush()
        if self.failure is not None:
            raise self.failure

    async def warm(self, call: str | None = None) -> None: ...
    async def call_ended(self, call: str) -> None: ...
    async def aclose(self) -> None: ...


LONG = "a" * 3 * MAX_TEXT_CHARACTERS


@pytest.mark.parametrize("failure", [None, AgentUnavailable("gone")])
async def test_long_text_of_one_read_is_pushed_in_steps(failure: Exception | None) -> None:
    sink, stop = RecordingSink(), asyncio.Event()
    counting = asyncio.create_task(count_turns(stop))
    await asyncio.sleep(0)
    agent = Reader("hi", LONG + "b", Finish(), "c", failure=failure)
    with nullcontext() if failure is None else pytest.raises(AgentUnavailable):
        await stream_events(agent, TURN, sink)
    stop.set()
    pushed = [line for line in sink.lines if line != "|"]
    assert pushed == ["hi", *["a" * MAX_TEXT_CHARACTERS] * 3, "b", Finish(), "c"]
    assert agent.taken == [True] * 4
    assert await counting >= 6


async def test_nothing_waits_behind_a_long_text_that_is_refused() -> None:
    sink, agent = RecordingSink(max_events=2), Reader(LONG, "b", LONG)
    await stream_events(agent, TURN, sink)
    assert [line for line in sink.lines if line != "|"] == ["a" * MAX_TEXT_CHARACTERS] * 2
    await stream_events(agent, TURN, RecordingSink(max_events=1))
    assert agent.taken[0] is False


async def test_cancelled_stream_waits_for_no_text() -> None:
    sink, agent = RecordingSink(), Reader(LONG)
    task = asyncio.create_task(stream_events(agent, TURN, sink))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(1)
    assert "".join(line for line in sink.lines if type(line) is str and line != "|") == LONG


@pytest.mark.parametrize("text", ["a" * 3 * MAX_TEXT_CHARACTERS, "a"])
async def test_no_event_is_passed_on_after_a_refusal(text: str) -> None:
    events, _, _ = await collect(text, text, limit=1)
    assert events == [text[:MAX_TEXT_CHARACTERS]]
