"""The phrases of a served agent depend on its dialect, the language and the request."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conversations.test_dispatcher import TURN, serve
from voicegw.events import Message, Tool, Turn
from voicegw.turns.acknowledgement import AckPolicy
from voicegw.turns.dialects import DIALECTS
from voicegw.turns.own_phrases import OwnPhrase
from voicegw.turns.speech_buffer import MAX_LANGUAGES


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


async def test_phrases_of_any_number_of_languages_are_right() -> None:
    agent = serve()
    for number in range(2 * MAX_LANGUAGES):
        turn = Turn("t", TURN.messages, language=f"de-x-{number}")
        ack = agent.ack_schedule(turn, DIALECTS["voice"], turn.messages, quiet=False)
        assert ack.phrase == "Einen Moment. "


@pytest.mark.parametrize(
    ("after", "own_phrases", "dialect", "is_removed"),
    [
        (0.5, None, "voice", True),
        (0.5, None, "chat", False),
        (None, None, "voice", False),
        (0.5, (), "voice", False),
        (None, (OwnPhrase("onemomentweareopen", 0, 9, ""),), "voice", True),
        (None, (OwnPhrase("onemomentweareopen", 0, 9, ""),), "chat", True),
    ],
)
async def test_history_loses_what_was_said_in_the_call_or_else_acknowledgements(
    after: float | None, own_phrases: tuple[OwnPhrase, ...] | None, dialect: str, is_removed: bool
) -> None:
    history = (Message("assistant", "One moment. We are open."), Message("assistant", "Let me"))
    agent = serve(ack_policy=AckPolicy(after))
    [answer, other] = agent.clean_history(history, "en", own_phrases, DIALECTS[dialect])
    assert answer.text == ("We are open." if is_removed else "One moment. We are open.")
    assert other == history[1]
