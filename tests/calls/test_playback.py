"""One turn's way to the caller: what leaves when, and when to ask again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.gateway import now
from tests.support.script import Script, script
from voicegw.calls.codec import TurnRequested
from voicegw.calls.playback import TOGETHER, TurnPlayback
from voicegw.events import Activity, Event, ToolCall, Turn
from voicegw.platforms.conversation_relay.codec import RelayCodec, RelayTurn
from voicegw.turns.acknowledgement import AckSchedule
from voicegw.turns.run import Run
from voicegw.turns.stream import KEEP, ResponseStream
from voicegw.turns.timings import TurnTimings


def talk(agent: Script, words: str = "", wake: Callable[[], None] = lambda: None) -> TurnPlayback:
    run = Run(agent, Turn("t", ()), lambda run: None, now=now)
    codec = RelayCodec("twilio").turn(TurnRequested())
    ack = AckSchedule(words, 0.0 if words else None)
    talk = TurnPlayback(
        run,
        ResponseStream(run.event_log, codec, ack, TurnTimings(now()), lambda failure: "Sorry."),
        codec,
        wake,
    )
    run.subscribers.append(talk)
    return talk


def frame(token: str, last: bool = False) -> bytes:
    return b'{"type":"text","token":"%b","last":%b}\n' % (token.encode(), b"true" if last else b"false")


def add(talk: TurnPlayback, *events: Event) -> None:
    talk.run.event_log.events.extend(events)


async def test_the_first_frame_holds_our_words_and_leaves_before_the_agent_is_asked() -> None:
    agent = script("Hi.")
    said = talk(agent, "One moment. ")
    assert said.begin(now()) == frame("One moment. ")
    assert agent.turns == []
    assert said.codec.spoken_text == "One moment. "


async def test_without_words_of_ours_nothing_leaves_and_the_agent_s_first_waits_for_nobody() -> None:
    said = talk(script())
    assert said.begin(now()) == b""
    add(said, "Hi")
    assert said.deadline == 0.0
    assert said.take(0.0) == frame("Hi")


async def test_words_that_follow_a_frame_closely_wait_for_company() -> None:
    said = talk(script(), "One moment. ")
    said.begin(0.0)
    add(said, "Hi")
    assert said.take(TOGETHER - 0.001) == b""
    add(said, " there")
    assert (said.behind, said.deadline) == (True, TOGETHER)
    assert said.take(TOGETHER) == frame("Hi there")
    assert (said.behind, said.deadline) == (False, KEEP)


async def test_an_empty_take_delays_nothing() -> None:
    said = talk(script(), "One moment. ")
    said.begin(0.0)
    assert said.take(1.0) == b""
    add(said, "Hi")
    assert said.take(1.001) == frame("Hi")


async def test_the_end_waits_for_nobody() -> None:
    said = talk(script(), "One moment. ")
    said.begin(0.0)
    add(said, "Hi")
    said.run.event_log.ended = True
    assert not said.done
    assert said.behind
    assert said.take(0.001) == frame("Hi", last=True)
    assert (said.done, said.behind) == (True, False)
    assert said.codec.spoken_text == "One moment. Hi"


async def test_after_the_end_nothing_is_due() -> None:
    said = talk(script())
    said.run.event_log.ended = True
    assert said.take(0.0) == frame("", last=True)
    assert (said.take(0.0), said.take(10.0)) == (b"", b"")


async def test_an_action_takes_the_words_before_it_along() -> None:
    said = talk(script(), "One moment. ")
    said.begin(0.0)
    press = ToolCall("1", "send_digits", '{"digits": "5"}')
    add(said, "Pressing.", press, Activity("search"), " Done.")
    assert said.take(1.0) == (frame("Pressing.") + b'{"type":"sendDigits","digits":"5"}\n' + frame(" Done."))
    assert said.actions == (press,)


async def test_an_action_that_comes_soon_after_words_waits_with_them() -> None:
    said = talk(script(), "One moment. ")
    said.begin(0.0)
    add(said, ToolCall("1", "send_digits", '{"digits": "5"}'))
    assert said.take(0.01) == b""
    assert said.take(TOGETHER) == b'{"type":"sendDigits","digits":"5"}\n'


async def test_a_long_silence_wakes_us_for_a_sign_of_life_of_which_there_is_none() -> None:
    said = talk(script())
    said.begin(0.0)
    assert said.deadline == KEEP
    assert said.take(KEEP) == b""
    assert said.deadline == 2 * KEEP


async def test_words_of_ours_that_are_due_wait_for_company_too() -> None:
    said = talk(script(), "One moment. ")
    said.begin(0.0)
    said.listener.ack = AckSchedule("Still there. ", 0.01)
    said.listener.ack.start(0.0)
    assert said.listener.deadline == 0.01
    assert said.deadline == TOGETHER
    assert said.take(TOGETHER) == frame("Still there. ")


async def test_it_hears_of_its_run_and_is_asked_to_send() -> None:
    woken: list[float] = []
    said = talk(script(0.5, "Hi.", 0.5), wake=lambda: woken.append(now()))
    said.begin(0.0)
    said.run.start()
    await asyncio.sleep(2)
    assert woken == [0.5, 1.0]
    assert said.take(now()) == frame("Hi.", last=True)


@pytest.mark.parametrize("cut", [0, 1])
async def test_a_turn_that_is_cut_short_closes_its_cycle_once_and_only_if_it_was_opened(cut: int) -> None:
    said = talk(script())
    add(said, "Hi")
    if cut:
        said.take(0.0)
    codec: Any = said.codec
    assert isinstance(codec, RelayTurn)
    assert codec.stop() == (frame("", last=True) if cut else b"")
    add(said, " there.")
    said.run.event_log.ended = True
    assert said.take(1.0) == b""
    assert codec.spoken_text == ("Hi" if cut else "")
