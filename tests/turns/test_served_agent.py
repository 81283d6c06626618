"""What a served agent says follows its dialect, the language and the request."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conversations.test_dispatcher import TURN, line
from voicegw.events import Message, Tool, Turn
from voicegw.turns.acknowledgement import AckPolicy
from voicegw.turns.dialects import DIALECTS


@pytest.mark.parametrize(
    ("fields", "turn", "dialect", "quiet", "words", "after"),
    [
        ({}, TURN, "voice", False, "One moment. ", 0.0),
        ({}, TURN, "elevenlabs", False, "One moment... ", 0.0),
        ({}, TURN, "chat", False, "", None),
        ({}, TURN, "voice", True, "", None),
        ({"ack_policy": AckPolicy(None)}, TURN, "voice", False, "", None),
        ({"ack_policy": AckPolicy(0.5)}, TURN, "voice", False, "One moment. ", 0.5),
        ({}, Turn("t", TURN.messages, language="ja"), "vapi", False, "少々お待ちください。 ", 0.0),
        ({"phrases": {"en": ("Right",)}}, TURN, "voice", False, "Right. ", 0.0),
        ({}, Turn("t", TURN.messages, tools=(Tool("f"),)), "voice", False, "One moment. ", 0.7),
    ],
)
async def test_the_acknowledgement_follows_line_dialect_language_and_request(
    fields: dict[str, Any], turn: Turn, dialect: str, quiet: bool, words: str, after: float | None
) -> None:
    ack = line(**fields).ack_schedule(turn, DIALECTS[dialect], turn.messages, quiet=quiet)
    assert (ack.words, ack.after) == (words, after)


async def test_words_that_are_never_said_are_the_agent_s_own() -> None:
    history = (Message("assistant", "One moment. We are open."), Message("assistant", "Let me"))
    loud, silent = line(ack_policy=AckPolicy(0.5)), line(ack_policy=AckPolicy(None))
    assert [message.text for message in loud.clean_history(history, "en", frozenset())] == ["We are open."]
    assert silent.clean_history(history, "en", frozenset()) == history
    assert [message.text for message in silent.clean_history(history, "en", frozenset({"One moment."}))] == [
        "We are open.",
        "Let me",
    ]
