"""Compares the histories that platforms send with the words that were spoken. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from voicegw.events import Message

TRUNCATION_MARKS = ".…-–— "
"""Characters that platforms append to words that were cut short."""


def heard_part(spoken_text: str, heard_text: str) -> str | None:
    """Return the part of a reply that the caller heard; None if that is all of it, or unknown.

    `heard_text` is the reply as the platform has it. Only words with which the reply begins are a part of
    it; any other text belongs to another history.
    """
    words, part = " ".join(spoken_text.split()), " ".join(heard_text.split())
    if not words or words == part:
        return None
    part = part if words.startswith(part) else part.rstrip(TRUNCATION_MARKS)
    return part if len(part) < len(words) and words.startswith(part) else None


def heard_part_of_last_reply(messages: Sequence[Message], history: Sequence[Message]) -> str | None:
    """Return the part of the last reply in `messages` that the caller heard, by the platform's `history`.

    None as in `heard_part`. If the history ends with the reply before the last one, the caller heard
    no word of the last one.
    """
    replies = ["", "", *(message.text for message in messages if _is_reply(message))]
    last, reported = replies[-1], last_reply(history) or ""
    is_missing = reported.split() == replies[-2].split() != last.split()
    return heard_part(last, "" if is_missing else reported)


def last_reply(history: Sequence[Message]) -> str | None:
    """Return the text of the assistant's last message that is not only a tool call; None if there is none."""
    for message in reversed(history):
        if _is_reply(message):
            return message.text
    return None


def _is_reply(message: Message) -> bool:
    return message.role == "assistant" and bool(message.text or not message.tool_calls)
