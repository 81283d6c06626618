"""A run: one agent answers one turn, in a task that is owned until its generator is closed."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from tests.support.fake_agent import FakeAgent, fake_agent
from voicegw.errors import AgentError, AgentProtocolError, AgentTimeout
from voicegw.events import REASONING, Activity, Event, Finish, Message, Tool, ToolCall, Turn, Usage
from voicegw.speech.filter import SpeechFilter
from voicegw.turns import streaming
from voicegw.turns.run import MAX_TEXT_CHARACTERS, Run
from voicegw.turns.timeouts import Timeouts

TURN = Turn("t1", (Message("user", "Hello?"),), tools=(Tool("f"),))


class RecordingSubscriber:
    """A subscriber that records its wake-ups: time, number of events, and whether the log has ended."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.wakeups: list[tuple[float, int, bool]] = []
        run.subscribers.append(self)

    def wake(self) -> None:
        self.wakeups.append((self.run.now(), len(self.run.event_log.events), self.run.event_log.has_ended))


def start(agent: FakeAgent, **options: Any) -> tuple[Run, list[Run]]:
    closed: list[Run] = []
    run = Run(agent, TURN, closed.append, now=asyncio.get_running_loop().time, **options)
    run.start()
    return run, closed


async def test_subscribers_wake_for_the_first_words_and_then_once_per_group_of_events() -> None:
    run, closed = start(fake_agent(0.3, "Hi", " there", ",", 0.2, Usage(1, 2), Finish("length")))
    subscriber = RecordingSubscriber(run)
    await asyncio.sleep(1)
    assert run.event_log.events == ["Hi", " there", ",", Usage(1, 2), Finish("length")]
    assert subscriber.wakeups == [(0.3, 1, False), (0.3, 3, False), (0.5, 5, True)]
    assert (run.requested_at, run.first_token_at, run.cancelled_at, run.closed_at) == (0.0, 0.3, None, 0.5)
    assert (run.event_log.failure, closed) == (None, [run])


@pytest.mark.parametrize("steps", [(), ("",), (" ", "\n"), (Activity("bash"),), (Usage(1, 0), Finish())])
async def test_agent_without_output_has_failed(steps: tuple[Event, ...]) -> None:
    run, _ = start(fake_agent(*steps))
    await asyncio.sleep(1)
    assert isinstance(run.event_log.failure, AgentProtocolError)
    assert (run.has_spoken, run.first_token_at) == (False, None)


@pytest.mark.parametrize(
    ("steps", "events"),
    [
        (("a\ud842", "\udfb7b"), ["a", "\U00020bb7b"]),
        (("\ud842", "\udfb7"), ["\U00020bb7"]),
        (("a\ud842", "", "\udfb7b"), ["a", "\U00020bb7b"]),
        (
            ("a\ud842", 1.0, Usage(1, 2), Activity("bash"), "\udfb7"),
            ["a", Usage(1, 2), Activity("bash"), "\U00020bb7"],
        ),
        (("\ud842", "\udfb7\ud842", "\udfb7"), ["\U00020bb7", "\U00020bb7"]),
        (("a\ud842", "b"), ["a", "\ufffdb"]),
        (("a\ud842", "\ud842", "\udfb7"), ["a", "\ufffd", "\U00020bb7"]),
        (("a\ud842",), ["a", "\ufffd"]),
        (("a\ud842", ToolCall("c", "f")), ["a", "\ufffd", ToolCall("c", "f")]),
        (("a\ud842", Finish("length")), ["a", "\ufffd", Finish("length")]),
        (("a\U00020bb7", "é"), ["a\U00020bb7", "é"]),
    ],
)
async def test_character_that_is_cut_into_two_deltas_is_joined(
    steps: tuple[Any, ...], events: list[Event]
) -> None:
    run, _ = start(fake_agent(*steps))
    await asyncio.sleep(2)
    assert run.event_log.events == events


async def test_cancelled_run_drops_half_a_character() -> None:
    run, _ = start(fake_agent("a\ud842", 9.0))
    await asyncio.sleep(1)
    run.cancel()
    await asyncio.sleep(1)
    assert run.event_log.events == ["a"]


async def test_tool_call_alone_is_an_answer() -> None:
    run, _ = start(fake_agent(ToolCall("c", "f")))
    await asyncio.sleep(1)
    assert (run.has_spoken, run.event_log.failure) == (True, None)


@pytest.mark.parametrize(
    ("raised", "kind"),
    [(AgentTimeout("late"), AgentTimeout), (ValueError("oops"), AgentError), (StopIteration(), AgentError)],
)
async def test_exception_ends_the_log_as_an_agent_error(raised: Exception, kind: type[AgentError]) -> None:
    run, closed = start(fake_agent("Well", 0.1, raised))
    await asyncio.sleep(1)
    assert run.event_log.events == ["Well"]
    assert type(run.event_log.failure) is kind
    assert (run.event_log.has_ended, closed) == (True, [run])
    assert isinstance(run.event_log.failure, AgentError)
    assert run.event_log.failure.quote in ("", "oops", "async generator raised StopIteration")


async def test_agent_whose_reply_raises_has_failed() -> None:
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
async def test_base_exception_of_an_agent_ends_only_its_run(raised: BaseException) -> None:
    run, closed = start(fake_agent("Well", 0.1, raised))
    await asyncio.sleep(1)
    assert type(run.event_log.failure) is AgentError
    assert (run.event_log.has_ended, closed) == (True, [run])


@pytest.mark.parametrize("failing_wakeup", [1, 2])
async def test_exception_of_a_subscriber_closes_the_agent(failing_wakeup: int) -> None:
    class BrokenSubscriber(RecordingSubscriber):
        def wake(self) -> None:
            super().wake()
            if len(self.wakeups) == failing_wakeup:
                raise ValueError("broken")

    agent = fake_agent("Hi", 0.1, " there", 0.1, ".", closing=0.5)
    run, closed = start(agent)
    BrokenSubscriber(run)
    await asyncio.sleep(2)
    assert type(run.event_log.failure) is AgentError
    assert (agent.close_times, closed) == ([0.5 if failing_wakeup == 1 else 0.6], [run])


async def test_log_is_limited_in_characters() -> None:
    run, _ = start(fake_agent(*["a" * (MAX_TEXT_CHARACTERS // 4)] * 9))
    await asyncio.sleep(1)
    *texts, end = run.event_log.events
    assert end == Finish("length")
    assert 0 <= MAX_TEXT_CHARACTERS - len("".join(map(str, texts))) < streaming.MAX_TEXT_CHARACTERS


async def test_the_size_of_all_tool_calls_is_limited() -> None:
    calls = [ToolCall(str(number), "f", "a" * (MAX_TEXT_CHARACTERS // 4)) for number in range(9)]
    run, _ = start(fake_agent(*calls))
    await asyncio.sleep(1)
    assert run.event_log.events == [*calls[:3], Finish("length")]


async def test_ended_run_cannot_start_again() -> None:
    agent = fake_agent("Hi")
    run, _ = start(agent)
    await asyncio.sleep(1)
    run.start()
    await asyncio.sleep(1)
    assert agent.start_times == [0.0]


@pytest.mark.parametrize("steps", [(), (0.1, "Hi", 5.0), (60.0,)])
async def test_cancelling_closes_the_agent_and_its_cleanup_completes(
    steps: tuple[Event | float, ...],
) -> None:
    agent = fake_agent(*steps, 60.0, closing=0.2)
    run, closed = start(agent)
    await asyncio.sleep(1)
    subscriber = RecordingSubscriber(run)
    run.cancel()
    assert subscriber.wakeups[-1][::2] == (1.0, True), "subscribers wake at once"
    for _ in range(3):
        await asyncio.sleep(0.05)
        run.cancel()
    assert agent.close_times == []
    await asyncio.sleep(1)
    assert agent.close_times == [1.2], "a second cancellation does not interrupt the cleanup"
    assert (run.cancelled_at, run.closed_at, closed) == (1.0, 1.2, [run])


async def test_run_cancelled_before_its_first_step_ends() -> None:
    agent = fake_agent("Hi")
    run, closed = start(agent)
    run.cancel()
    await asyncio.sleep(1)
    assert (run.event_log.has_ended, run.event_log.events, agent.start_times, closed) == (True, [], [], [run])


async def test_cancelled_run_cannot_start() -> None:
    closed: list[Run] = []
    agent = fake_agent("Hi")
    run = Run(agent, TURN, closed.append, now=asyncio.get_running_loop().time)
    run.cancel()
    run.start()
    await asyncio.sleep(1)
    assert (run.event_log.has_ended, agent.start_times, closed) == (True, [], [run])
    assert run.cancelled_at == run.closed_at == 0.0


async def test_starting_twice_asks_the_agent_once() -> None:
    agent = fake_agent("Hi")
    run, _ = start(agent)
    run.start()
    await asyncio.sleep(1)
    assert agent.start_times == [0.0]


async def test_events_after_a_cancellation_are_dropped() -> None:
    class Stubborn(FakeAgent):
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


async def test_log_is_limited_in_events_and_the_agent_is_closed() -> None:
    agent = fake_agent(*["a"] * 10, closing=0.5)
    run, _ = start(agent, max_events=3)
    subscriber = RecordingSubscriber(run)
    await asyncio.sleep(1)
    assert run.event_log.events == ["a", "a", "a", Finish("length")]
    assert subscriber.wakeups[-1] == (0.0, 4, True), "subscribers do not wait for the agent to close"
    assert agent.close_times == [0.5]


async def test_failure_of_the_gateway_ends_the_log_once() -> None:
    run, _ = start(fake_agent("Hi", 60.0))
    await asyncio.sleep(1)
    first = AgentTimeout("first")
    run.fail(first)
    run.fail(AgentTimeout("second"))
    await asyncio.sleep(0.1)
    assert run.event_log.failure is first
    assert run.closed_at == 1.0


async def test_on_closed_waits_for_the_agent_until_its_timeout() -> None:
    calls: list[tuple[str, float]] = []
    run, _ = start(fake_agent("Hi", closing=2.0))
    slow, _ = start(fake_agent("Hi", 1.0, closing=3.0))
    run.on_closed(lambda: calls.append(("run", run.now())), 10.0)
    slow.on_closed(lambda: calls.append(("slow", run.now())), 1.5)
    await asyncio.sleep(9)
    run.on_closed(lambda: calls.append(("late", run.now())), 1.0)
    assert calls == [("slow", 1.5), ("run", 2.0), ("late", 9.0)]


@pytest.mark.parametrize("started", [True, False])
async def test_run_cancelled_before_its_agent_still_supersedes(started: bool) -> None:
    older, newer = fake_agent("Hi", 60.0), fake_agent("Ho")
    old, _ = start(older)
    run = Run(newer, TURN, lambda run: None, now=asyncio.get_running_loop().time, earlier_runs=(old,))
    await asyncio.sleep(1)
    if started:
        run.start()
    run.cancel()
    await asyncio.sleep(0.1)
    assert (older.close_times, newer.start_times, run.earlier_runs, run.is_closed) == ([1.0], [], (), True)


CALL = ToolCall("c", "f")


@pytest.mark.parametrize(
    ("steps", "logged"),
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
async def test_text_is_logged_as_speech_and_in_order(steps: tuple[Any, ...], logged: list[Event]) -> None:
    run, _ = start(fake_agent(*steps), speech_filter=SpeechFilter())
    await asyncio.sleep(3)
    assert run.event_log.events == logged


async def test_without_speech_filter_text_is_logged_unchanged() -> None:
    deltas = [" ", "**Hi** ", "<think>", "\n"]
    run, _ = start(fake_agent(*deltas))
    await asyncio.sleep(1)
    assert run.event_log.events == deltas


async def test_held_text_is_released_once_when_the_agent_pauses() -> None:
    run, _ = start(
        fake_agent(0.1, "Hi", 0.2, " you\n\n", 2.0, "all."),
        speech_filter=SpeechFilter(),
        max_hold_seconds=0.5,
    )
    subscriber = RecordingSubscriber(run)
    await asyncio.sleep(3)
    assert run.event_log.events == ["Hi", " you", ". ", "all."]
    assert subscriber.wakeups == [(0.1, 1, False), (0.3, 2, False), (0.8, 3, False), (2.3, 4, True)]


async def test_first_token_time_is_that_of_the_released_text() -> None:
    run, _ = start(fake_agent(0.1, "[or so ", 1.0), speech_filter=SpeechFilter(), max_hold_seconds=0.5)
    await asyncio.sleep(3)
    assert (run.event_log.events, run.has_spoken, run.first_token_at) == (["or so"], True, 0.6)


@pytest.mark.parametrize(
    "steps", [("<think>Hm.",), (" ", "\n"), ("<think>", Usage(1, 2), "</think>", Finish())]
)
async def test_reasoning_alone_is_no_output(steps: tuple[Event, ...]) -> None:
    run, _ = start(fake_agent(*steps), speech_filter=SpeechFilter())
    await asyncio.sleep(1)
    assert isinstance(run.event_log.failure, AgentProtocolError)
    assert (run.has_spoken, run.has_output, run.first_token_at) == (False, False, None)


@pytest.mark.parametrize("filtered", [False, True])
async def test_reasoning_is_reported_once_until_other_output(filtered: bool) -> None:
    steps = (
        *[REASONING] * 3,
        "Hi. ",
        REASONING,
        Activity("f"),
        REASONING,
        Activity("reasoning"),
        ToolCall("c", "f"),
    )
    run, _ = start(fake_agent(*steps), speech_filter=SpeechFilter() if filtered else None)
    await asyncio.sleep(1)
    events = [event for event in run.event_log.events if type(event) is not str]
    assert events == [REASONING, REASONING, Activity("f"), REASONING, ToolCall("c", "f")]


async def test_reasoning_within_the_text_is_reported_once() -> None:
    steps = ("<think>", "Hm. ", "Hm.", "</think>", "Yes.")
    run, _ = start(fake_agent(*steps), speech_filter=SpeechFilter())
    await asyncio.sleep(1)
    assert run.event_log.events == [REASONING, "Yes."]


@pytest.mark.parametrize(
    ("timeouts", "steps", "failed_at"),
    [
        (Timeouts(first_token=1.0), (*[0.9, REASONING] * 5, 0.9, "Yes."), None),
        (Timeouts(first_token=1.0), (1.1, REASONING), 1.0),
        (Timeouts(first_token=1.0, idle=0.5), (*[0.4, REASONING] * 5, 9.0), 2.5),
        (Timeouts(idle=0.5), ("Hi", *[0.4, REASONING] * 5, "."), None),
        (Timeouts(reasoning=1.0), (*[0.4, REASONING] * 5, "Yes."), 1.6),
        (Timeouts(reasoning=1.0), (*[0.4, REASONING, 0.4, REASONING, 0.4, "Yes. "] * 3,), None),
        (Timeouts(reasoning=1.0), (REASONING, 5.0, "Yes."), None),
        (Timeouts(), (*[9.0, REASONING] * 50, "Yes."), None),
    ],
)
async def test_reasoning_counts_as_alive_and_is_limited(
    timeouts: Timeouts, steps: tuple[Any, ...], failed_at: float | None
) -> None:
    run, _ = start(fake_agent(*steps), timeouts=timeouts)
    await asyncio.sleep(1000)
    assert run.event_log.has_ended
    if failed_at is None:
        assert run.event_log.failure is None
    else:
        assert (type(run.event_log.failure), run.closed_at) == (AgentTimeout, pytest.approx(failed_at))


async def test_reasoning_counts_for_no_limit_of_events() -> None:
    run, _ = start(fake_agent(*[REASONING] * 99, "Hi"), max_events=9)
    await asyncio.sleep(1)
    assert run.event_log.events == [REASONING, "Hi"]


async def test_cancelled_run_drops_held_text() -> None:
    agent = fake_agent("Hi [", 60.0, closing=1.0)
    run, _ = start(agent, speech_filter=SpeechFilter())
    await asyncio.sleep(0.1)
    run.cancel()
    await asyncio.sleep(3)
    assert run.event_log.events == ["Hi"]
    assert agent.close_times == [1.1]


async def test_failure_drops_held_text_but_timeout_releases_it() -> None:
    failed, _ = start(fake_agent("Hi [", 60.0), speech_filter=SpeechFilter())
    timed_out, _ = start(fake_agent("Hi [", 60.0), speech_filter=SpeechFilter(), timeouts=Timeouts(idle=0.1))
    await asyncio.sleep(0.1)
    failed.fail(AgentTimeout("late"))
    await asyncio.sleep(3)
    assert (failed.event_log.events, timed_out.event_log.events) == (["Hi"], ["Hi", " ["])


@pytest.mark.parametrize("text", ["", "<think>", "\u200b"])
async def test_unspoken_text_counts_for_the_limit_of_events(text: str) -> None:
    agent = fake_agent("Hi ", *[text] * 99)
    run, _ = start(agent, speech_filter=SpeechFilter(), max_events=9)
    await asyncio.sleep(1)
    assert [event for event in run.event_log.events if event != REASONING] == ["Hi", Finish("length")]


async def test_unspoken_text_counts_for_the_limit_of_characters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("voicegw.turns.run.MAX_TEXT_CHARACTERS", 20)
    run, _ = start(fake_agent("# Hi\n", "<think>", "a" * 8, "</think>", "Ho"), speech_filter=SpeechFilter())
    await asyncio.sleep(1)
    assert run.event_log.events == ["Hi", REASONING, ".", Finish("length")]


@pytest.mark.parametrize("held", ["Hi ", "Hi"])
async def test_ended_run_is_freed_without_the_garbage_collector(held: str) -> None:
    gc.collect()
    gc.disable()
    try:
        run, closed = start(fake_agent(held, 1.0), speech_filter=SpeechFilter())
        await asyncio.sleep(3)
        reference = weakref.ref(run)
        closed.clear()
        del run
        assert reference() is None
    finally:
        gc.enable()
