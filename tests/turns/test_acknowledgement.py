"""The times and choice of the gateway's phrases while the agent is silent."""

from __future__ import annotations

import pytest

from voicegw.events import Activity, Finish, Message, Tool, ToolCall, Turn, Usage
from voicegw.turns.acknowledgement import AckPolicy, AckSchedule, ack_delay, pick_phrase

USER = Message("user", "Hello?")
PHRASES = ("One moment", "Let me see", "Just a second")


def turn(*tools: str, last: Message = USER, **fields: object) -> Turn:
    return Turn("t", (last,), tools=tuple(Tool(name) for name in tools), **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("policy", "input_turn", "delay"),
    [
        (AckPolicy(0), turn(), 0),
        (AckPolicy(0.5), turn(), 0.5),
        (AckPolicy(None), turn(), None),
        (AckPolicy(0), turn("end_call", "language_detection"), 0),
        (AckPolicy(0), turn("end_call", "skip_turn"), 0.7),
        (AckPolicy(0), turn("book_table"), 0.7),
        (AckPolicy(2.0), turn("book_table"), 2.0),
        (AckPolicy(0, with_tools=1.5), turn("book_table"), 1.5),
        (AckPolicy(0), turn("book_table", tool_choice="none"), 0),
        (AckPolicy(None), turn("book_table"), None),
        (AckPolicy(0), turn(last=Message("tool", "42", tool_call_id="c")), None),
        (AckPolicy(0), turn(last=Message("function", "42", name="f")), None),
        (AckPolicy(0), Turn("t", ()), 0),
    ],
)
def test_delay_depends_on_policy_and_request_only(
    policy: AckPolicy, input_turn: Turn, delay: float | None
) -> None:
    assert ack_delay(policy, input_turn) == delay


def test_phrases_are_used_in_order() -> None:
    history: list[Message] = []
    phrases = []
    for _ in range(4):
        phrases.append(PHRASES[pick_phrase(PHRASES, history)])
        history += [USER, Message("assistant", f"{phrases[-1]}... Fine.")]
    assert phrases == ["One moment", "Let me see", "Just a second", "One moment"]


@pytest.mark.parametrize("last", PHRASES)
def test_last_phrase_is_not_repeated(last: str) -> None:
    for earlier_answers in range(4):
        history = [*[Message("assistant", "Hi.")] * earlier_answers, Message("assistant", f"{last}... Well.")]
        assert PHRASES[pick_phrase(PHRASES, history)] != last


def test_single_phrase_is_repeated() -> None:
    assert pick_phrase(("One moment",), [Message("assistant", "One moment. Yes.")]) == 0


def test_phrase_of_the_first_chunk_is_said_once() -> None:
    ack = AckSchedule("One moment. ", 0)
    assert ack.start(5.0) == "One moment. "
    assert ack.deadline is None
    assert ack.take_due_phrase(99.0) == ""


def test_phrase_is_due_at_its_deadline() -> None:
    ack = AckSchedule("One moment. ", 0.5)
    assert ack.start(5.0) == ""
    assert ack.deadline == 5.5
    assert ack.take_due_phrase(5.4) == ""
    assert ack.take_due_phrase(5.5) == "One moment. "
    assert ack.deadline is None
    assert ack.take_due_phrase(6.0) == ""


@pytest.mark.parametrize("event", ["Hi", " Hi", ToolCall("c", "f")])
def test_speech_of_the_agent_cancels_the_phrase(event: str | ToolCall) -> None:
    ack = AckSchedule("One moment. ", 0.5)
    ack.start(0.0)
    ack.observe(event, 0.1)
    assert ack.deadline is None
    assert ack.take_due_phrase(1.0) == ""


@pytest.mark.parametrize("event", ["", "  \n", Activity("bash"), Usage(), Finish()])
def test_activity_and_white_space_do_not_cancel_the_phrase(event: str | Activity | Usage | Finish) -> None:
    ack = AckSchedule("One moment. ", 0.5)
    ack.start(0.0)
    ack.observe(event, 0.1)
    assert ack.take_due_phrase(1.0) == "One moment. "


@pytest.mark.parametrize(("phrase", "after"), [("", 0), ("", 0.5), ("One moment. ", None)])
def test_schedule_without_phrase_is_never_due(phrase: str, after: float | None) -> None:
    ack = AckSchedule(phrase, after)
    assert ack.start(0.0) == ""
    assert ack.deadline is None
    assert ack.take_due_phrase(99.0) == ""
