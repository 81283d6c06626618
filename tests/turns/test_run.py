"""A run: one agent answering one turn, owned until its generator is closed."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from tests.support.script import Script, script
from voicegw.errors import AgentError, AgentProtocolError, AgentTimeout
from voicegw.events import Activity, Event, Finish, Message, Tool, ToolCall, Turn, Usage
from voicegw.speech.filter import SpeechFilter
from voicegw.turns.run import MAX_TEXT, Run
from voicegw.turns.timeouts import Timeouts

TURN = Turn("t1", (Message("user", "Hello?"),), tools=(Tool("f"),))


class Ears:
    """A follower that notes when it was woken, and what it could hear then."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.heard: list[tuple[float, int, bool]] = []
        run.subscribers.append(self)

    def wake(self) -> None:
        self.heard.append((self.run.now(), len(self.run.event_log.events), self.run.event_log.ended))


def start(agent: Script, **options: Any) -> tuple[Run, list[Run]]:
    closed: list[Run] = []
    run = Run(agent, TURN, closed.append, now=asyncio.get_running_loop().time, **options)
    run.start()
    return run, closed


async def test_the_first_words_are_told_at_once_and_then_what_came_together_together() -> None:
    run, closed = start(script(0.3, "Hi", " there", ",", 0.2, Usage(1, 2), Finish("length")))
    ears = Ears(run)
    await asyncio.sleep(1)
    assert run.event_log.events == ["Hi", " there", ",", Usage(1, 2), Finish("length")]
    assert ears.heard == [(0.3, 1, False), (0.3, 3, False), (0.5, 5, True)]
    assert (run.asked_at, run.first_token_at, run.cancelled_at, run.closed_at) == (0.0, 0.3, None, 0.5)
    assert (run.event_log.failure, closed) == (None, [run])


@pytest.mark.parametrize("steps", [(), ("",), (" ", "\n"), (Activity("bash"),), (Usage(1, 0), Finish())])
async def test_an_agent_that_says_nothing_has_failed(steps: tuple[Event, ...]) -> None:
    run, _ = start(script(*steps))
    await asyncio.sleep(1)
    assert isinstance(run.event_log.failure, AgentProtocolError)
    assert (run.has_spoken, run.first_token_at) == (False, None)


async def test_a_tool_call_alone_is_an_answer() -> None:
    run, _ = start(script(ToolCall("c", "f")))
    await asyncio.sleep(1)
    assert (run.has_spoken, run.event_log.failure) == (True, None)


@pytest.mark.parametrize(
    ("raised", "kind"),
    [(AgentTimeout("late"), AgentTimeout), (ValueError("oops"), AgentError), (StopIteration(), AgentError)],
)
async def test_a_failure_ends_the_record_and_is_one_of_ours(
    raised: Exception, kind: type[AgentError]
) -> None:
    run, closed = start(script("Well", 0.1, raised))
    await asyncio.sleep(1)
    assert run.event_log.events == ["Well"]
    assert type(run.event_log.failure) is kind
    assert (run.event_log.ended, closed) == (True, [run])
    assert isinstance(run.event_log.failure, AgentError)
    assert run.event_log.failure.quote in ("", "oops", "async generator raised StopIteration")


async def test_an_agent_that_is_no_generator_has_failed() -> None:
    class Broken:
        def reply(self, turn: Turn) -> AsyncGenerator[Event, None]:
            raise TypeError("no")

        async def warm(self, call: str | None = None) -> None: ...
        async def aclose(self) -> None: ...

    run = Run(Broken(), TURN, lambda run: None, now=asyncio.get_running_loop().time)
    run.start()
    await asyncio.sleep(1)
    assert type(run.event_log.failure) is AgentError


@pytest.mark.parametrize(
    "raised", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError(), GeneratorExit()]
)
async def test_an_agent_that_ends_in_an_odd_way_has_failed_and_nothing_more(raised: BaseException) -> None:
    run, closed = start(script("Well", 0.1, raised))
    await asyncio.sleep(1)
    assert type(run.event_log.failure) is AgentError
    assert (run.event_log.ended, closed) == (True, [run])


@pytest.mark.parametrize("spoilt", [1, 2])
async def test_what_goes_wrong_while_a_follower_is_told_leaves_no_agent_behind(spoilt: int) -> None:
    class Deaf(Ears):
        def wake(self) -> None:
            super().wake()
            if len(self.heard) == spoilt:
                raise ValueError("deaf")

    agent = script("Hi", 0.1, " there", 0.1, ".", closing=0.5)
    run, closed = start(agent)
    Deaf(run)
    await asyncio.sleep(2)
    assert type(run.event_log.failure) is AgentError
    assert (agent.closed, closed) == ([0.5 if spoilt == 1 else 0.6], [run])


async def test_the_record_has_a_bound_in_characters_too() -> None:
    run, _ = start(script(*["a" * (MAX_TEXT // 4)] * 9))
    await asyncio.sleep(1)
    assert run.event_log.events[4:] == [Finish("length")]


async def test_a_run_that_ended_cannot_start_again() -> None:
    agent = script("Hi")
    run, _ = start(agent)
    await asyncio.sleep(1)
    run.start()
    await asyncio.sleep(1)
    assert agent.started == [0.0]


@pytest.mark.parametrize("steps", [(), (0.1, "Hi", 5.0), (60.0,)])
async def test_cancelling_closes_the_agent_and_its_own_clean_up_completes(
    steps: tuple[Event | float, ...],
) -> None:
    agent = script(*steps, 60.0, closing=0.2)
    run, closed = start(agent)
    await asyncio.sleep(1)
    ears = Ears(run)
    run.cancel()
    assert ears.heard[-1][::2] == (1.0, True), "listeners learn at once"
    for _ in range(3):
        await asyncio.sleep(0.05)
        run.cancel()
    assert agent.closed == []
    await asyncio.sleep(1)
    assert agent.closed == [1.2], "asking again does not cut the clean-up short"
    assert (run.cancelled_at, run.closed_at, closed) == (1.0, 1.2, [run])


async def test_a_run_cancelled_in_its_first_moment_still_ends() -> None:
    agent = script("Hi")
    run, closed = start(agent)
    run.cancel()
    await asyncio.sleep(1)
    assert (run.event_log.ended, run.event_log.events, agent.started, closed) == (True, [], [], [run])


async def test_a_run_that_never_started_ends_at_once_and_cannot_start() -> None:
    closed: list[Run] = []
    agent = script("Hi")
    run = Run(agent, TURN, closed.append, now=asyncio.get_running_loop().time)
    run.cancel()
    run.start()
    await asyncio.sleep(1)
    assert (run.event_log.ended, agent.started, closed) == (True, [], [run])
    assert run.cancelled_at == run.closed_at == 0.0


async def test_starting_twice_asks_once() -> None:
    agent = script("Hi")
    run, _ = start(agent)
    run.start()
    await asyncio.sleep(1)
    assert agent.started == [0.0]


async def test_an_agent_that_ignores_being_told_is_not_heard_any_more() -> None:
    class Stubborn(Script):
        async def reply(self, turn: Turn) -> AsyncGenerator[Event, None]:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                yield "You will listen!"
                await asyncio.sleep(1)
                yield "To all of it!"

    run, closed = start(Stubborn())
    await asyncio.sleep(1)
    run.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert run.event_log.events == []
    await asyncio.sleep(5)
    assert (run.event_log.events, closed) == ([], [run])


async def test_the_record_has_a_bound_and_then_the_agent_is_stopped() -> None:
    agent = script(*["a"] * 10, closing=0.5)
    run, _ = start(agent, max_events=3)
    ears = Ears(run)
    await asyncio.sleep(1)
    assert run.event_log.events == ["a", "a", "a", Finish("length")]
    assert ears.heard[-1] == (0.0, 4, True), "nobody waits for the agent to close"
    assert agent.closed == [0.5]


async def test_a_failure_of_ours_ends_the_record_once() -> None:
    run, _ = start(script("Hi", 60.0))
    await asyncio.sleep(1)
    first = AgentTimeout("first")
    run.fail(first)
    run.fail(AgentTimeout("second"))
    await asyncio.sleep(0.1)
    assert run.event_log.failure is first
    assert run.closed_at == 1.0


async def test_a_report_waits_for_the_agent_to_close_but_not_for_ever() -> None:
    told: list[tuple[str, float]] = []
    run, _ = start(script("Hi", closing=2.0))
    slow, _ = start(script("Hi", 1.0, closing=3.0))
    run.on_closed(lambda: told.append(("run", run.now())), 10.0)
    slow.on_closed(lambda: told.append(("slow", run.now())), 1.5)
    await asyncio.sleep(9)
    run.on_closed(lambda: told.append(("late", run.now())), 1.0)
    assert told == [("slow", 1.5), ("run", 2.0), ("late", 9.0)]


@pytest.mark.parametrize("started", [True, False])
async def test_a_run_that_never_gets_to_its_agent_still_supersedes(started: bool) -> None:
    older, newer = script("Hi", 60.0), script("Ho")
    old, _ = start(older)
    run = Run(newer, TURN, lambda run: None, now=asyncio.get_running_loop().time, earlier_closing=(old,))
    await asyncio.sleep(1)
    if started:
        run.start()
    run.cancel()
    await asyncio.sleep(0.1)
    assert (older.closed, newer.started, run.earlier_closing, run.closed) == ([1.0], [], (), True)


CALL = ToolCall("c", "f")


@pytest.mark.parametrize(
    ("steps", "recorded"),
    [
        (("Hi ", "there."), ["Hi", " there."]),
        (("Hi ", Activity("bash"), "**you** "), ["Hi", Activity("bash"), " you"]),
        (("Hi ", CALL), ["Hi", CALL]),
        (("- Hi", CALL, "you"), ["Hi", ".", CALL, " you"]),
        (("Hi ", ToolCall("c", "unknown")), ["Hi", Activity("unknown")]),
        (("Hi ", Usage(1, 2), Finish()), ["Hi", Usage(1, 2), Finish()]),
        (("# Hi", Finish(), Usage(1, 2)), ["Hi", ".", Finish(), Usage(1, 2)]),
        (("# Hi",), ["Hi", "."]),
        (("Hi [", 0.1, AgentError("cut")), ["Hi", " ["]),
        (("Hi [", 1.0, AgentError("cut")), ["Hi", " ["]),
        (("", "Hi", "", " "), ["Hi"]),
    ],
)
async def test_text_is_recorded_as_it_is_spoken_and_in_its_place(
    steps: tuple[Any, ...], recorded: list[Event]
) -> None:
    run, _ = start(script(*steps), speech=SpeechFilter())
    await asyncio.sleep(3)
    assert run.event_log.events == recorded


async def test_without_speech_text_is_recorded_untouched() -> None:
    deltas = ["", " ", "**Hi** ", "<think>", "\n"]
    run, _ = start(script(*deltas))
    await asyncio.sleep(1)
    assert run.event_log.events == deltas


async def test_when_the_agent_pauses_what_was_held_is_told_once() -> None:
    run, _ = start(script(0.1, "Hi", 0.2, " you\n\n", 2.0, "all."), speech=SpeechFilter(), max_hold_seconds=0.5)
    ears = Ears(run)
    await asyncio.sleep(3)
    assert run.event_log.events == ["Hi", " you", ". ", "all."]
    assert ears.heard == [(0.1, 1, False), (0.3, 2, False), (0.8, 3, False), (2.3, 4, True)]


async def test_a_first_word_that_was_held_counts_from_when_it_was_said() -> None:
    run, _ = start(script(0.1, "[or so ", 1.0), speech=SpeechFilter(), max_hold_seconds=0.5)
    await asyncio.sleep(3)
    assert (run.event_log.events, run.has_spoken, run.first_token_at) == (["or so"], True, 0.6)


@pytest.mark.parametrize(
    "steps", [("<think>Hm.",), (" ", "\n"), ("<think>", Usage(1, 2), "</think>", Finish())]
)
async def test_an_agent_that_only_reasons_has_said_nothing(steps: tuple[Event, ...]) -> None:
    run, _ = start(script(*steps), speech=SpeechFilter())
    await asyncio.sleep(1)
    assert isinstance(run.event_log.failure, AgentProtocolError)
    assert (run.has_spoken, run.has_output, run.first_token_at) == (False, False, None)


async def test_a_run_that_is_cancelled_says_nothing_more() -> None:
    agent = script("Hi [", 60.0, closing=1.0)
    run, _ = start(agent, speech=SpeechFilter())
    await asyncio.sleep(0.1)
    run.cancel()
    await asyncio.sleep(3)
    assert run.event_log.events == ["Hi"]
    assert agent.closed == [1.1]


async def test_a_failure_of_ours_says_nothing_more_but_lost_patience_does() -> None:
    ours, _ = start(script("Hi [", 60.0), speech=SpeechFilter())
    late, _ = start(script("Hi [", 60.0), speech=SpeechFilter(), timeouts=Timeouts(idle=0.1))
    await asyncio.sleep(0.1)
    ours.fail(AgentTimeout("late"))
    await asyncio.sleep(3)
    assert (ours.event_log.events, late.event_log.events) == (["Hi"], ["Hi", " ["])


@pytest.mark.parametrize("text", ["", "<think>", "\u200b"])
async def test_what_is_never_spoken_counts_for_the_bound_in_events(text: str) -> None:
    agent = script("Hi ", *[text] * 99)
    run, _ = start(agent, speech=SpeechFilter(), max_events=9)
    await asyncio.sleep(1)
    assert run.event_log.events == ["Hi", Finish("length")]


async def test_what_is_never_spoken_counts_for_the_bound_in_characters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("voicegw.turns.run.MAX_TEXT", 20)
    run, _ = start(script("# Hi\n", "<think>", "a" * 8, "</think>", "Ho"), speech=SpeechFilter())
    await asyncio.sleep(1)
    assert run.event_log.events == ["Hi", ".", Finish("length")]


@pytest.mark.parametrize("held", ["Hi ", "Hi"])
async def test_a_run_that_is_over_does_not_wait_for_the_collector(held: str) -> None:
    gc.collect()
    gc.disable()
    try:
        run, closed = start(script(held, 1.0), speech=SpeechFilter())
        await asyncio.sleep(3)
        gone = weakref.ref(run)
        closed.clear()
        del run
        assert gone() is None
    finally:
        gc.enable()
