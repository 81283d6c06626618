"""A listener weaves our words into an agent's events: tables of what leaves when."""

from __future__ import annotations

import pytest

from voicegw.errors import AgentTimeout, VoicegwError
from voicegw.events import Activity, Event, Finish, ToolCall, Usage
from voicegw.turns.acknowledgement import AckSchedule
from voicegw.turns.stream import KEEP, EventLog, ResponseStream
from voicegw.turns.timings import TurnTimings


class Plain:
    """A codec whose bytes can be read."""

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


def listen(after: float | None = 0, *, note: bool = False) -> tuple[EventLog, ResponseStream]:
    record = EventLog()
    ack = AckSchedule("Wait. ", after)
    return record, ResponseStream(record, Plain(), ack, TurnTimings(0.0), lambda failure: "Sorry.", note=note)


def play(after: float | None, *steps: tuple[float, Event | VoicegwError | None]) -> list[tuple[float, str]]:
    """What leaves when events come at these times; None only asks what is due. The run ends with the last."""
    record, listener = listen(after)
    out = [(0.0, listener.start(0.0).decode())]
    for when, step in steps:
        if isinstance(step, VoicegwError):
            record.failure, record.ended = step, True
        elif step is not None:
            record.events.append(step)
        out.append((when, listener.read(when).decode()))
    record.ended = True
    out.append((steps[-1][0], listener.read(steps[-1][0]).decode()))
    return [(when, data) for when, data in out if data]


@pytest.mark.parametrize(
    ("after", "steps", "heard"),
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
def test_words_and_events_leave_in_the_order_in_which_a_caller_should_hear_them(
    after: float | None, steps: list[tuple[float, Event | None]], heard: list[tuple[float, str]]
) -> None:
    assert play(after, *steps) == heard


@pytest.mark.parametrize(
    ("said", "end"),
    [
        ([], "[Sorry.]#stop"),
        (["Well"], "[... Sorry.]#stop"),
        (["Well."], "[ Sorry.]#stop"),
        (["Well. "], "[Sorry.]#stop"),
        (["Well", ToolCall("c", "f")], "#tool_calls"),
    ],
)
def test_a_failure_after_the_first_byte_is_a_sentence(said: list[Event], end: str) -> None:
    record, listener = listen(0)
    listener.start(0.0)
    record.events += said
    listener.read(0.1)
    record.failure, record.ended = AgentTimeout("late"), True
    assert listener.read(0.2).decode() == end
    assert listener.done


def test_a_failure_joins_words_that_have_no_space_at_their_end() -> None:
    record, listener = listen(None)
    listener.start(0.0)
    record.failure, record.ended = AgentTimeout("late"), True
    assert listener.read(0.2) == b"[Sorry.]#stop"


def test_silence_on_the_wire_never_lasts_longer_than_the_strictest_client_waits() -> None:
    record, listener = listen(0)
    listener.start(0.0)
    assert listener.deadline == KEEP
    assert listener.read(KEEP - 0.001) == b""
    assert listener.read(KEEP) == b"~"
    assert listener.deadline == 2 * KEEP
    record.events.append("Hi")
    listener.read(5.0)
    assert listener.deadline == 5.0 + KEEP
    record.events.append(Activity("bash"))
    assert listener.read(6.0) == b""
    assert listener.deadline == 5.0 + KEEP, "work is not heard on the wire"


def test_the_deadline_is_that_of_the_words_while_they_wait() -> None:
    _, listener = listen(0.5)
    listener.start(0.0)
    assert listener.deadline == 0.5


def test_what_came_together_leaves_together_and_nothing_leaves_twice() -> None:
    record, listener = listen(0)
    listener.start(0.0)
    record.events += ["a", "b", "c"]
    assert listener.read(0.1) == b"[a][b][c]"
    assert listener.read(0.2) == b""
    record.ended = True
    assert listener.read(0.3) == b"#stop"
    assert listener.read(99.0) == b"~", "whoever asks after the end gets nothing but a sign of life"


def test_the_stamps_tell_our_words_from_the_agent_s() -> None:
    record, listener = listen(0.5, note=True)
    listener.start(0.0)
    listener.read(0.5)
    record.events += ["  ", "Hi"]
    listener.read(2.0)
    record.ended = True
    assert listener.read(2.5).endswith(b"ack=500.0ms answer=2000.0ms gap=1500.0ms")
    stamps = listener.timings
    assert (stamps.first_chunk, stamps.first_ack, stamps.first_token, stamps.ended, stamps.deltas) == (
        0.0,
        0.5,
        2.0,
        2.5,
        1,
    )
