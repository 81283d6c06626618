"""The frames of one turn, their times, and the deadline for the next read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.fake_agent import FakeAgent, fake_agent
from tests.support.gateway import loop_time
from voicegw.calls.codec import TurnRequested
from voicegw.calls.playback import GATHER_SECONDS, TurnPlayback
from voicegw.conversations.agent_registry import AgentRegistry
from voicegw.conversations.dispatcher import Dispatcher
from voicegw.conversations.engine import TurnEngine
from voicegw.events import Activity, Event, ToolCall, Turn
from voicegw.platforms.conversation_relay.codec import RelayCodec, RelayTurn
from voicegw.security.keys import ANONYMOUS
from voicegw.security.rate_limits import RateLimiter
from voicegw.telemetry.turn_log import TurnLog
from voicegw.turns.acknowledgement import AckSchedule
from voicegw.turns.run import Run
from voicegw.turns.stream import KEEPALIVE_INTERVAL, ResponseStream
from voicegw.turns.timings import TurnTimings


def make_playback(agent: FakeAgent, words: str = "", wake: Callable[[], None] = lambda: None) -> TurnPlayback:
    run = Run(agent, Turn("t", ()), lambda run: None, now=loop_time)
    encoder = RelayCodec("twilio").begin_turn(TurnRequested())
    ack = AckSchedule(words, 0.0 if words else None)
    timings = TurnTimings(loop_time())
    engine = TurnEngine(Dispatcher(AgentRegistry({})), RateLimiter(1), TurnLog())
    playback = TurnPlayback(
        engine.open(ANONYMOUS, "desk", lambda: run, timings, ""),
        ResponseStream(run.event_log, encoder, ack, timings, lambda failure: "Sorry."),
        encoder,
        wake,
    )
    run.subscribers.append(playback)
    return playback


def frame(token: str, last: bool = False) -> bytes:
    return b'{"type":"text","token":"%b","last":%b}\n' % (token.encode(), b"true" if last else b"false")


def add(playback: TurnPlayback, *events: Event) -> None:
    playback.run.event_log.events.extend(events)


async def test_acknowledgement_is_the_first_frame_before_the_run_starts() -> None:
    agent = fake_agent("Hi.")
    playback = make_playback(agent, "One moment. ")
    assert playback.start(loop_time()) == frame("One moment. ")
    assert agent.turns == []
    assert playback.encoder.spoken_text == "One moment. "


async def test_first_delta_is_not_delayed_without_an_acknowledgement() -> None:
    playback = make_playback(fake_agent())
    assert playback.start(loop_time()) == b""
    add(playback, "Hi")
    assert playback.deadline == 0.0
    assert playback.read(0.0) == frame("Hi")


async def test_deltas_soon_after_a_frame_are_gathered() -> None:
    playback = make_playback(fake_agent(), "One moment. ")
    playback.start(0.0)
    add(playback, "Hi")
    assert playback.read(GATHER_SECONDS - 0.001) == b""
    add(playback, " there")
    assert (playback.has_more, playback.deadline) == (True, GATHER_SECONDS)
    assert playback.read(GATHER_SECONDS) == frame("Hi there")
    assert (playback.has_more, playback.deadline) == (False, KEEPALIVE_INTERVAL)


async def test_empty_read_delays_nothing() -> None:
    playback = make_playback(fake_agent(), "One moment. ")
    playback.start(0.0)
    assert playback.read(1.0) == b""
    add(playback, "Hi")
    assert playback.read(1.001) == frame("Hi")


async def test_end_is_not_delayed() -> None:
    playback = make_playback(fake_agent(), "One moment. ")
    playback.start(0.0)
    add(playback, "Hi")
    playback.run.event_log.has_ended = True
    assert not playback.done
    assert playback.has_more
    assert playback.read(0.001) == frame("Hi", last=True)
    assert (playback.done, playback.has_more) == (True, False)
    assert playback.encoder.spoken_text == "One moment. Hi"


async def test_nothing_is_due_after_the_end() -> None:
    playback = make_playback(fake_agent())
    playback.run.event_log.has_ended = True
    assert playback.read(0.0) == frame("", last=True)
    assert (playback.read(0.0), playback.read(10.0)) == (b"", b"")


async def test_action_follows_the_words_before_it() -> None:
    playback = make_playback(fake_agent(), "One moment. ")
    playback.start(0.0)
    press = ToolCall("1", "send_digits", '{"digits": "5"}')
    add(playback, "Pressing.", press, Activity("search"), " Done.")
    assert playback.read(1.0) == (
        frame("Pressing.") + b'{"type":"sendDigits","digits":"5"}\n' + frame(" Done.")
    )
    assert playback.actions == (press,)


async def test_action_soon_after_a_frame_is_delayed_as_well() -> None:
    playback = make_playback(fake_agent(), "One moment. ")
    playback.start(0.0)
    add(playback, ToolCall("1", "send_digits", '{"digits": "5"}'))
    assert playback.read(0.01) == b""
    assert playback.read(GATHER_SECONDS) == b'{"type":"sendDigits","digits":"5"}\n'


async def test_deadline_in_a_long_silence_is_the_keepalive() -> None:
    playback = make_playback(fake_agent())
    playback.start(0.0)
    assert playback.deadline == KEEPALIVE_INTERVAL
    assert playback.read(KEEPALIVE_INTERVAL) == b""
    assert playback.deadline == 2 * KEEPALIVE_INTERVAL


async def test_own_phrases_soon_after_a_frame_are_gathered() -> None:
    playback = make_playback(fake_agent(), "One moment. ")
    playback.start(0.0)
    playback.stream.ack = AckSchedule("Still there. ", 0.01)
    playback.stream.ack.start(0.0)
    assert playback.stream.deadline == 0.01
    assert playback.deadline == GATHER_SECONDS
    assert playback.read(GATHER_SECONDS) == frame("Still there. ")


async def test_events_of_the_run_wake_the_writer() -> None:
    wake_times: list[float] = []
    playback = make_playback(fake_agent(0.5, "Hi.", 0.5), wake=lambda: wake_times.append(loop_time()))
    playback.start(0.0)
    playback.run.start()
    await asyncio.sleep(2)
    assert wake_times == [0.5, 1.0]
    assert playback.read(loop_time()) == frame("Hi.", last=True)


@pytest.mark.parametrize("has_tokens", [0, 1])
async def test_stopped_turn_closes_its_cycle_once_if_it_was_opened(has_tokens: int) -> None:
    playback = make_playback(fake_agent())
    add(playback, "Hi")
    if has_tokens:
        playback.read(0.0)
    encoder: Any = playback.encoder
    assert isinstance(encoder, RelayTurn)
    assert encoder.stop() == (frame("", last=True) if has_tokens else b"")
    add(playback, " there.")
    playback.run.event_log.has_ended = True
    assert playback.read(1.0) == b""
    assert encoder.spoken_text == ("Hi" if has_tokens else "")
