"""A stream adds the gateway's phrases to an agent's events: tables of the bytes and their times."""

from __future__ import annotations

import pytest

from voicegw.errors import AgentTimeout, VoicegwError
from voicegw.events import Activity, Event, Finish, ToolCall, Usage
from voicegw.turns.acknowledgement import AckSchedule
from voicegw.turns.stream import KEEPALIVE_INTERVAL, EventLog, ResponseStream
from voicegw.turns.timings import TurnTimings


class ReadableEncoder:
    """An encoder whose bytes are readable."""

    keepalive = b"~"

    def start(self, words: str) -> bytes:
        return f"<{words}>".encode()

    def text_delta(self, delta: str) -> bytes:
        return f"[{delta}]".encode()

    def tool_call(self, call: ToolCall) -> bytes:
        return f"({call.name})".encode()

    def finish(self, reason: str, usage: Usage | None, note: str = "") -> bytes:
        tokens = "" if usage is None else f",{usage.completion}"
        return f"#{reason}{tokens}{',' if note else ''}{note}".encode()


def create_stream(after: float | None = 0, *, note: bool = False) -> tuple[EventLog, ResponseStream]:
    event_log = EventLog()
    ack = AckSchedule("Wait. ", after)
    return event_log, ResponseStream(
        event_log, ReadableEncoder(), ack, TurnTimings(0.0), lambda failure: "Sorry.", adds_timings_note=note
    )


@pytest.mark.parametrize("event", ["Well", ToolCall("c", "f"), None])
def test_a_program_gets_an_error_in_place_of_an_apology(event: Event | None) -> None:
    event_log, timings = EventLog(), TurnTimings(0.0)
    stream = ResponseStream(
        event_log,
        ReadableEncoder(),
        AckSchedule("", None),
        timings,
        lambda failure: "Sorry.",
        encode_failure=lambda failure: f"!{type(failure).__name__}".encode(),
    )
    stream.start(0.0)
    event_log.events.extend([] if event is None else [event])
    event_log.failure, event_log.has_ended = AgentTimeout("late"), True
    sent = stream.read(1.0)
    assert sent.endswith(b"!AgentTimeout")
    assert b"Sorry" not in sent
    assert b"#" not in sent
    assert stream.is_done
    assert timings.ended_at == 1.0


def play(after: float | None, *steps: tuple[float, Event | VoicegwError | None]) -> list[tuple[float, str]]:
    """Return the bytes and their times for events at these times; None only reads. Then the run ends."""
    event_log, stream = create_stream(after)
    sent = [(0.0, stream.start(0.0).decode())]
    for when, step in steps:
        if isinstance(step, VoicegwError):
            event_log.failure, event_log.has_ended = step, True
        elif step is not None:
            event_log.events.append(step)
        sent.append((when, stream.read(when).decode()))
    event_log.has_ended = True
    sent.append((steps[-1][0], stream.read(steps[-1][0]).decode()))
    return [(when, data) for when, data in sent if data]


@pytest.mark.parametrize(
    ("after", "steps", "sent"),
    [
        (0, [(0.3, "Hi")], [(0.0, "<Wait. >"), (0.3, "[Hi]"), (0.3, "#stop")]),
        (0.5, [(0.3, "Hi")], [(0.0, "<>"), (0.3, "[Hi]"), (0.3, "#stop")]),
        (0.5, [(0.5, None), (0.9, "Hi")], [(0.0, "<>"), (0.5, "[Wait. ]"), (0.9, "[Hi]"), (0.9, "#stop")]),
        (0.5, [(0.5, "Hi")], [(0.0, "<>"), (0.5, "[Hi]"), (0.5, "#stop")]),
        (None, [(3.0, None), (3.5, "Hi")], [(0.0, "<>"), (3.5, "[Hi]"), (3.5, "#stop")]),
        (0.5, [(0.2, Activity("bash")), (0.5, None)], [(0.0, "<>"), (0.5, "[Wait. ]"), (0.5, "#stop")]),
        (0.5, [(0.2, ToolCall("c", "f")), (0.6, None)], [(0.0, "<>"), (0.2, "(f)"), (0.6, "#tool_calls")]),
        (
            0,
            [(0.2, " Hi"), (0.3, " you")],
            [(0.0, "<Wait. >"), (0.2, "[Hi]"), (0.3, "[ you]"), (0.3, "#stop")],
        ),
        (0, [(0.1, " "), (0.2, "\n"), (0.3, "Hi")], [(0.0, "<Wait. >"), (0.3, "[Hi]"), (0.3, "#stop")]),
        (None, [(0.2, " Hi")], [(0.0, "<>"), (0.2, "[ Hi]"), (0.2, "#stop")]),
        (None, [(0.1, " "), (0.2, "Hi")], [(0.0, "<>"), (0.1, "[ ]"), (0.2, "[Hi]"), (0.2, "#stop")]),
        (None, [(0.1, "Hi"), (0.2, "")], [(0.0, "<>"), (0.1, "[Hi]"), (0.2, "#stop")]),
        (None, [(0.1, "Hi"), (0.2, Finish("length"))], [(0.0, "<>"), (0.1, "[Hi]"), (0.2, "#length")]),
        (None, [(0.1, Usage(1, 2)), (0.1, "Hi")], [(0.0, "<>"), (0.1, "[Hi]"), (0.1, "#stop,2")]),
        (
            None,
            [(0.1, ToolCall("c", "f")), (0.1, Finish("length"))],
            [(0.0, "<>"), (0.1, "(f)"), (0.1, "#length")],
        ),
    ],
)
def test_phrases_and_events_are_sent_in_the_order_of_speech(
    after: float | None, steps: list[tuple[float, Event | None]], sent: list[tuple[float, str]]
) -> None:
    assert play(after, *steps) == sent


@pytest.mark.parametrize(
    ("events", "end"),
    [
        ([], "[Sorry.]#stop"),
        (["Well"], "[... Sorry.]#stop"),
        (["Well."], "[ Sorry.]#stop"),
        (["Well. "], "[Sorry.]#stop"),
        (["Well", ToolCall("c", "f")], "#tool_calls"),
        (["Well", ToolCall("c", "f"), Finish("tool_calls")], "#tool_calls"),
        (["Well", Activity("f"), Finish("tool_calls")], "[... Sorry.]#stop"),
    ],
)
def test_failure_after_the_first_byte_becomes_an_apology(events: list[Event], end: str) -> None:
    event_log, stream = create_stream(0)
    stream.start(0.0)
    event_log.events += events
    stream.read(0.1)
    event_log.failure, event_log.has_ended = AgentTimeout("late"), True
    assert stream.read(0.2).decode() == end
    assert stream.is_done


def test_failure_without_any_words_is_only_the_apology() -> None:
    event_log, stream = create_stream(None)
    stream.start(0.0)
    event_log.failure, event_log.has_ended = AgentTimeout("late"), True
    assert stream.read(0.2) == b"[Sorry.]#stop"


def test_keepalive_is_sent_before_the_strictest_client_gives_up() -> None:
    event_log, stream = create_stream(0)
    stream.start(0.0)
    assert stream.deadline == KEEPALIVE_INTERVAL
    assert stream.read(KEEPALIVE_INTERVAL - 0.001) == b""
    assert stream.read(KEEPALIVE_INTERVAL) == b"~"
    assert stream.deadline == 2 * KEEPALIVE_INTERVAL
    event_log.events.append("Hi")
    stream.read(5.0)
    assert stream.deadline == 5.0 + KEEPALIVE_INTERVAL
    event_log.events.append(Activity("bash"))
    assert stream.read(6.0) == b""
    assert stream.deadline == 5.0 + KEEPALIVE_INTERVAL, "an activity sends no bytes"


def test_deadline_is_that_of_the_acknowledgement_while_it_waits() -> None:
    _, stream = create_stream(0.5)
    stream.start(0.0)
    assert stream.deadline == 0.5


def test_events_are_sent_together_and_only_once() -> None:
    event_log, stream = create_stream(0)
    stream.start(0.0)
    event_log.events += ["a", "b", "c"]
    assert stream.read(0.1) == b"[a][b][c]"
    assert stream.read(0.2) == b""
    event_log.has_ended = True
    assert stream.read(0.3) == b"#stop"
    assert stream.read(99.0) == b"~", "after the end there are only keepalives"


def test_timings_separate_acknowledgement_and_first_token() -> None:
    event_log, stream = create_stream(0.5, note=True)
    stream.start(0.0)
    stream.read(0.5)
    event_log.events += ["  ", "Hi"]
    stream.read(2.0)
    event_log.has_ended = True
    assert stream.read(2.5).endswith(b"ack=500.0ms answer=2000.0ms gap=1500.0ms")
    timings = stream.timings
    assert (
        timings.first_chunk_at,
        timings.first_ack_at,
        timings.first_token_at,
        timings.ended_at,
        timings.delta_count,
    ) == (
        0.0,
        0.5,
        2.0,
        2.5,
        1,
    )
