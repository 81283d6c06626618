"""What a caller's words ask of the agent."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.script import script
from voicegw.calls.call_tools import call_tools
from voicegw.calls.codec import TurnRequested
from voicegw.calls.profile import CallProfile
from voicegw.conversations.call_store import CallRecord
from voicegw.events import Message
from voicegw.security.keys import ApiKey
from voicegw.turns.dialects import DIALECTS
from voicegw.turns.prompts import CALL_START_PROMPT, SILENCE_PROMPT
from voicegw.turns.served_agent import ServedAgent

HELLO = Message("user", "Hello?")
REPLY = Message("assistant", "One moment. We are open.")


def route() -> CallProfile:
    line = ServedAgent("desk", script(), DIALECTS["voice"])
    return CallProfile(ApiKey("twilio", b""), line, "de-DE", actions=call_tools(("end_call",)))


def turn(asked: TurnRequested, *messages: Message, heard: str | None = None, **facts: Any) -> Any:
    call = CallRecord("call1", 0.0)
    call.transcript.messages.extend(messages)
    call.transcript.heard = heard
    return route().turn("turn1", call, asked, frozenset({"One moment."}), facts)


@pytest.mark.parametrize(
    ("asked", "texts"),
    [
        (TurnRequested("When?"), ["Hello?", "We are open.", "When?"]),
        (TurnRequested(kind="tool"), ["Hello?", "We are open."]),
        (TurnRequested(kind="reminder"), ["Hello?", "We are open.", SILENCE_PROMPT]),
        (TurnRequested("Hi", history=(Message("user", "Hi"),)), ["Hi"]),
        (TurnRequested(kind="reminder", history=()), [SILENCE_PROMPT]),
        (TurnRequested(history=()), [CALL_START_PROMPT]),
    ],
)
def test_the_agent_gets_the_conversation_without_our_words(asked: TurnRequested, texts: list[str]) -> None:
    made = turn(asked, HELLO, REPLY)
    assert [message.text for message in made.messages] == texts
    assert (made.kind, made.call, made.tenant) == (asked.kind, "call1", "twilio")
    assert [tool.name for tool in made.tools] == ["end_call"]


def test_the_language_is_the_callers_or_the_routes() -> None:
    assert turn(TurnRequested("Hi", language="fr-FR")).language == "fr-FR"
    assert turn(TurnRequested("Hi")).language == "de-DE"


def test_what_was_heard_comes_from_the_ledger_or_from_the_platforms_history() -> None:
    assert turn(TurnRequested("When?"), HELLO, REPLY, heard="We").heard == "We"
    history = (HELLO, Message("assistant", "One moment. We"), Message("user", "When?"))
    reply = Message("assistant", "We are open.")
    assert turn(TurnRequested("When?", history=history), reply, heard="We are").heard == "We"


SORRY = Message("user", "Sorry?")
OPEN, NINE = Message("assistant", "We are open."), Message("assistant", "From nine to five.")


@pytest.mark.parametrize(
    ("told", "texts", "heard"),
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
            ["Hello?", "We are open.", "Sorry?", "Let"],
            None,
        ),
        ((Message("assistant", "They are closed."),), ["They are closed."], None),
    ],
)
def test_a_reply_of_which_only_our_own_words_were_heard_was_not_heard(
    told: tuple[Message, ...], texts: list[str], heard: str | None
) -> None:
    call = CallRecord("call1", 0.0)
    call.transcript.messages.extend((HELLO, OPEN, SORRY, NINE))
    call.transcript.own_words = "Let me see."
    said = frozenset({"One moment.", "Let me see."})
    made = route().turn("turn1", call, TurnRequested("When?", history=(*told, HELLO)), said, {})
    assert [message.text for message in made.messages] == [*texts, "Hello?"]
    assert made.heard == heard


def test_the_agent_learns_what_the_platform_tells_of_the_call() -> None:
    assert turn(TurnRequested("Hi"), customParameters={"plan": "gold"}).extra == {
        "call": {"customParameters": {"plan": "gold"}}
    }
    assert turn(TurnRequested("Hi")).extra == {}
