"""The phrases of a served agent depend on its dialect, the language and the request."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conversations.test_dispatcher import TURN, serve
from voicegw.events import Message, Tool, Turn
from voicegw.turns.acknowledgement import AckPolicy
from voicegw.turns.dialects import DIALECTS


@pytest.mark.parametrize(
    ("fields", "turn", "dialect", "quiet", "phrase", "after"),
    [
        ({}, TURN, "voice", False, "One moment. ", 0.0),
        ({}, TURN, "elevenlabs", False, "One moment... ", 0.0),
        ({}, TURN, "chat", False, "", None),
        ({}, TURN, "voice", True, "", None),
        ({"ack_policy": AckPolicy(None)}, TURN, "voice", False, "", None),
        ({"ack_policy": AckPolicy(0.5)}, TURN, "voice", False, "One moment. ", 0.5),
        ({}, Turn("t", TURN.messages, language="ja"), "vapi", False, "少々お待ちください。 ", 0.0),
        ({"ack_phrases": {"en": ("Right",)}}, TURN, "voice", False, "Right. ", 0.0),
        ({}, Turn("t", TURN.messages, tools=(Tool("f"),)), "voice", False, "One moment. ", 0.7),
    ],
)
async def test_acknowledgement_depends_on_agent_dialect_language_and_request(
    fields: dict[str, Any], turn: Turn, dialect: str, quiet: bool, phrase: str, after: float | None
) -> None:
    ack = serve(**fields).ack_schedule(turn, DIALECTS[dialect], turn.messages, quiet=quiet)
    assert (ack.phrase, ack.after) == (phrase, after)


async def test_without_acknowledgements_only_remembered_phrases_are_removed() -> None:
    history = (Message("assistant", "One moment. We are open."), Message("assistant", "Let me"))
    acknowledging, silent = serve(ack_policy=AckPolicy(0.5)), serve(ack_policy=AckPolicy(None))
    assert [message.text for message in acknowledging.clean_history(history, "en", frozenset())] == [
        "We are open."
    ]
    assert silent.clean_history(history, "en", frozenset()) == history
    assert [message.text for message in silent.clean_history(history, "en", frozenset({"One moment."}))] == [
        "We are open.",
        "Let me",
    ]
