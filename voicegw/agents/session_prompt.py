"""What an agent that keeps the conversation itself is asked in one turn, as one text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from voicegw.events import Message, Turn
from voicegw.turns.prompts import CALL_START_PROMPT, SILENCE_PROMPT

INSTRUCTIONS = "(Instructions for this call, which you do not need to answer:\n{text}\n)"


def new_text(turn: Turn, known: int) -> str:
    """What is new for an agent that was told `known` words of the caller: what it missed, what was heard
    of its last answer, and the last words. Never empty."""
    *missed, last = (message.text for message in new_messages(turn.messages, known))
    return joined(*missed, interruption_note(turn.heard), last) or SILENCE_PROMPT


def session_prompt(turn: Turn, known: int | None, *, fresh: bool) -> str:
    """What is said in a session.

    `known` counts the words of the caller that it was told, None if we never spoke to it. Then it is
    `fresh`, and told of everything before, or it went on from a connection that was lost, and is taken to
    know all but the last words.
    """
    if known is not None:
        return new_text(turn, known)
    if not fresh:
        return new_text(turn, seen(turn))
    answered = any(message.role == "assistant" for message in turn.messages)
    now = new_text(
        turn if answered else replace(turn, heard=None), seen(turn)
    )  # a greeting was no answer of its
    said = system(turn)
    return joined(INSTRUCTIONS.format(text=said) if said else "", history_summary(turn.messages), now)


def seen(turn: Turn) -> int:
    """How many words of the caller came before the last ones."""
    return user_message_count(_earlier(turn))


def with_missed_context(turn: Turn, known: int, *, whole: bool) -> Turn:
    """The turn, its last words saying also what a server missed that keeps the conversation.

    With `whole` the history goes along, for a server that might have forgotten it.
    """
    kept = (message for message in _earlier(turn) if whole or message.role in ("system", "developer"))
    return replace(turn, messages=(*kept, Message("user", new_text(turn, known))))


def _earlier(turn: Turn) -> tuple[Message, ...]:
    """What came before the last words of the caller, if those are the last."""
    spoke = bool(turn.messages) and turn.messages[-1].role == "user"
    return turn.messages[:-1] if spoke else turn.messages


CUT = '(The caller interrupted you: of your last answer they heard only "{heard}".)'


UNHEARD = "(The caller interrupted you before they heard anything of your last answer.)"


BEFORE = "(The conversation so far, which you do not need to answer:\n{lines}\n)"


NAMES = {"user": "Caller", "assistant": "You"}


def system(turn: Turn) -> str:
    """The instructions of a turn, as one text."""
    return joined(*(message.text for message in turn.messages if message.role in ("system", "developer")))


def new_messages(messages: Sequence[Message], known: int) -> tuple[Message, ...]:
    """The words of the caller that the agent was not told yet: it knows the first `known` of them.

    Where nothing new was said, the last words count again, unless they were answered: then the caller is
    silent, and the agent is asked to bring them back. A conversation that just began has words of ours.
    """
    said = _said(messages)
    words = tuple(message for message in said if message.role == "user")
    if len(words) > known:
        return words[known:]
    if said and said[-1].role == "user":
        return words[-1:]
    return (Message("user", SILENCE_PROMPT if words else CALL_START_PROMPT),)


def user_message_count(messages: Sequence[Message]) -> int:
    """How many words of the caller an agent knows that was told of these messages."""
    return sum(message.role == "user" for message in _said(messages))


def interruption_note(heard: str | None) -> str:
    """What the agent should know of its last answer, "" if all of it was heard."""
    if heard is None:
        return ""
    words = " ".join(heard.split())
    return CUT.format(heard=words) if words else UNHEARD


def history_summary(messages: Sequence[Message]) -> str:
    """The conversation up to what is new, for an agent that did not see it; "" if there was none."""
    said = _said(messages)
    if said and said[-1].role == "user":
        said = said[:-1]
    spoken = ((NAMES[message.role], " ".join(message.text.split())) for message in said)
    lines = "\n".join(f"{name}: {text}" for name, text in spoken if text)
    return BEFORE.format(lines=lines) if lines else ""


def _said(messages: Sequence[Message]) -> list[Message]:
    """What the two said, without what is blank."""
    return [m for m in messages if m.role in NAMES and (m.text.strip() or m.parts)]


def joined(*texts: str) -> str:
    """Texts that are not blank, as paragraphs."""
    return "\n\n".join(text for text in texts if text.strip())
