"""What an agent that keeps the conversation itself is asked in one turn, as one text."""

from __future__ import annotations

from dataclasses import replace

from voicegw.events import Message, Turn
from voicegw.wire.telling import NUDGE, before, joined, news, note, system, told

INSTRUCTIONS = "(Instructions for this call, which you do not need to answer:\n{text}\n)"


def words(turn: Turn, known: int) -> str:
    """What is new for an agent that was told `known` words of the caller: what it missed, what was heard
    of its last answer, and the last words. Never empty."""
    *missed, last = (message.text for message in news(turn.messages, known))
    return joined(*missed, note(turn.heard), last) or NUDGE


def prompt(turn: Turn, known: int | None, *, fresh: bool) -> str:
    """What is said in a session.

    `known` counts the words of the caller that it was told, None if we never spoke to it. Then it is
    `fresh`, and told of everything before, or it went on from a connection that was lost, and is taken to
    know all but the last words.
    """
    if known is not None:
        return words(turn, known)
    if not fresh:
        return words(turn, seen(turn))
    answered = any(message.role == "assistant" for message in turn.messages)
    now = words(
        turn if answered else replace(turn, heard=None), seen(turn)
    )  # a greeting was no answer of its
    said = system(turn)
    return joined(INSTRUCTIONS.format(text=said) if said else "", before(turn.messages), now)


def seen(turn: Turn) -> int:
    """How many words of the caller came before the last ones."""
    return told(_earlier(turn))


def caught_up(turn: Turn, known: int, *, whole: bool) -> Turn:
    """The turn, its last words saying also what a server missed that keeps the conversation.

    With `whole` the history goes along, for a server that might have forgotten it.
    """
    kept = (message for message in _earlier(turn) if whole or message.role in ("system", "developer"))
    return replace(turn, messages=(*kept, Message("user", words(turn, known))))


def _earlier(turn: Turn) -> tuple[Message, ...]:
    """What came before the last words of the caller, if those are the last."""
    spoke = bool(turn.messages) and turn.messages[-1].role == "user"
    return turn.messages[:-1] if spoke else turn.messages
