"""Compares histories that platforms send with what was said. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from voicegw.events import Message

CUT_ENDS = ".…-–— "
"""What platforms put behind words that were cut short."""


def common(words: Sequence[str], heard: Sequence[str]) -> int:
    """How many words two texts begin with in common, whatever their case and punctuation."""
    count = 0
    for one, other in zip(words, heard, strict=False):
        if bare(one) != bare(other):
            break
        count += 1
    return count


def bare(word: str) -> str:
    return "".join(char for char in word.casefold() if char.isalnum())


def part_heard(said: str, heard: str) -> str | None:
    """What was heard of a reply, if that is less than was said; None if all of it was, or if it is unknown.

    Only words that the reply begins with are part of it; anything else is another account of the call.
    """
    words, part = " ".join(said.split()), " ".join(heard.split())
    if not words or words == part:
        return None
    part = part if words.startswith(part) else part.rstrip(CUT_ENDS)
    return part if len(part) < len(words) and words.startswith(part) else None


def part_of_last(said: Sequence[Message], history: Sequence[Message]) -> str | None:
    """What was heard of our last reply in `said`, by the history that a platform sends; None as above.

    A history that ends with the reply before it has nothing of it.
    """
    replies = ["", "", *(message.text for message in said if _is_reply(message))]
    last, told = replies[-1], last_reply(history) or ""
    skipped = told.split() == replies[-2].split() != last.split()
    return part_heard(last, "" if skipped else told)


def without(own: str, history: Sequence[Message]) -> tuple[Message, ...]:
    """The history, but for a last reply that is only the beginning of `own`: words of ours before it."""
    for place in range(len(history) - 1, -1, -1):
        if _is_reply(message := history[place]):
            ours = bare(message.text) and bare(own).startswith(bare(message.text))
            if ours and not (message.parts or message.tool_calls):
                return (*history[:place], *history[place + 1 :])
            break
    return tuple(history)


def last_reply(history: Sequence[Message]) -> str | None:
    """What the assistant said last, before what the user says now; None if there is no such message."""
    for message in reversed(history):
        if _is_reply(message):
            return message.text
    return None


def _is_reply(message: Message) -> bool:
    return message.role == "assistant" and bool(message.text or not message.tool_calls)
