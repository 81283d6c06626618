"""The turn that a profile makes of a platform's request."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.fake_agent import fake_agent
from voicegw.calls.call_tools import build_call_tools
from voicegw.calls.codec import TurnRequested
from voicegw.calls.profile import CallProfile
from voicegw.conversations.call_record import CallRecord
from voicegw.events import Message
from voicegw.security.keys import ApiKey
from voicegw.turns.dialects import DIALECTS
from voicegw.turns.own_phrases import find_own_phrases
from voicegw.turns.prompts import CALL_START_PROMPT, SILENCE_PROMPT
from voicegw.turns.served_agent import ServedAgent

HELLO = Message("user", "Hello?")
REPLY = Message("assistant", "One moment. We are open.")
OPEN, NINE = Message("assistant", "We are open."), Message("assistant", "From nine to five.")
OWN_PHRASES = (
    *find_own_phrases([("One moment. ", True), (OPEN.text, False)], "Hello?"),
    *find_own_phrases([("Let me see. ", True), (NINE.text, False)], "Sorry?"),
)


def profile() -> CallProfile:
    agent = ServedAgent("desk", fake_agent(), DIALECTS["voice"])
    return CallProfile(ApiKey("twilio", b""), agent, "de-DE", actions=build_call_tools(("end_call",)))


def build(turn_request: TurnRequested, *messages: Message, heard: str | None = None, **metadata: Any) -> Any:
    call = CallRecord("call1", 0.0)
    call.transcript.messages.extend(messages)
    call.transcript.heard_text = heard
    return profile().build_turn("turn1", call, turn_request, OWN_PHRASES, metadata)


@pytest.mark.parametrize(
    ("turn_request", "texts"),
    [
        (TurnRequested("When?"), ["Hello?", REPLY.text, "When?"]),
        (TurnRequested(kind="tool"), ["Hello?", REPLY.text]),
        (TurnRequested(kind="reminder"), ["Hello?", REPLY.text, SILENCE_PROMPT]),
        (TurnRequested("When?", history=(HELLO, REPLY)), ["Hello?", "We are open."]),
        (TurnRequested("When?", history=(REPLY, HELLO)), [REPLY.text, "Hello?"]),
        (TurnRequested("Hi", history=(Message("user", "Hi"),)), ["Hi"]),
        (TurnRequested(kind="reminder", history=()), [SILENCE_PROMPT]),
        (TurnRequested(history=()), [CALL_START_PROMPT]),
    ],
)
def test_own_phrases_are_removed_from_the_platforms_messages(
    turn_request: TurnRequested, texts: list[str]
) -> None:
    turn = build(turn_request, HELLO, REPLY)
    assert [message.text for message in turn.messages] == texts
    assert (turn.kind, turn.call, turn.tenant) == (turn_request.kind, "call1", "twilio")
    assert [tool.name for tool in turn.tools] == ["end_call"]


def test_language_is_that_of_the_request_or_of_the_profile() -> None:
    assert build(TurnRequested("Hi", language="fr-FR")).language == "fr-FR"
    assert build(TurnRequested("Hi")).language == "de-DE"


def test_heard_text_is_taken_from_the_transcript_or_the_platforms_history() -> None:
    assert build(TurnRequested("When?"), HELLO, REPLY, heard="We").heard == "We"
    history = (HELLO, Message("assistant", "One moment. We"), Message("user", "When?"))
    reply = Message("assistant", "We are open.")
    assert build(TurnRequested("When?", history=history), reply, heard="We are").heard == "We"


SORRY = Message("user", "Sorry?")


@pytest.mark.parametrize(
    ("history", "texts", "heard"),
    [
        ((HELLO, REPLY, SORRY), ["Hello?", "We are open.", "Sorry?"], ""),
        ((HELLO, REPLY, SORRY, Message("assistant", "Let")), ["Hello?", "We are open.", "Sorry?"], ""),
        (
            (HELLO, REPLY, SORRY, Message("assistant", "Let me see.")),
            ["Hello?", "We are open.", "Sorry?"],
            "",
        ),
        (
            (HELLO, REPLY, SORRY, Message("assistant", "Let me see. From")),
            ["Hello?", "We are open.", "Sorry?", "From"],
            "From",
        ),
        (
            (HELLO, REPLY, SORRY, Message("assistant", "Let me see. Let")),
            ["Hello?", "We are open.", "Sorry?", "Let me see. Let"],
            None,
        ),
        ((Message("assistant", "They are closed."),), ["They are closed."], None),
    ],
)
def test_reply_of_which_only_own_phrases_were_heard_counts_as_not_heard(
    history: tuple[Message, ...], texts: list[str], heard: str | None
) -> None:
    call = CallRecord("call1", 0.0)
    call.transcript.messages.extend((HELLO, OPEN, SORRY, NINE))
    turn = profile().build_turn(
        "turn1", call, TurnRequested("When?", history=(*history, HELLO)), OWN_PHRASES, {}
    )
    assert [message.text for message in turn.messages] == [*texts, "Hello?"]
    assert turn.heard == heard


def test_agent_gets_the_platforms_description_of_the_call() -> None:
    assert build(TurnRequested("Hi"), customParameters={"plan": "gold"}).extra == {
        "call": {"customParameters": {"plan": "gold"}}
    }
    assert build(TurnRequested("Hi")).extra == {}
