"""The input for an agent that keeps the conversation itself: one text per turn. Pure.

It repeats what the agent missed, and how much of an interrupted answer reached the caller. Agents that get
the whole conversation with each turn do not need it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from voicegw.events import Message, Turn
from voicegw.turns.prompts import CALL_START_PROMPT, SILENCE_PROMPT

INSTRUCTIONS_NOTE = "(Instructions for this call, which you do not need to answer:\n{text}\n)"
INTERRUPTED_NOTE = '(The caller interrupted you: of your last answer they heard only "{heard}".)'
UNHEARD_NOTE = "(The caller interrupted you before they heard anything of your last answer.)"
HISTORY_NOTE = "(The conversation so far, which you do not need to answer:\n{lines}\n)"
SPEAKERS = {"user": "Caller", "assistant": "You"}
"""The roles that `HISTORY_NOTE` quotes, and their names in it."""


def session_prompt(turn: Turn, known_count: int | None, *, fresh: bool) -> str:
    """Return the text of a turn for a session; it is never empty.

    `known_count` is how many of the caller's messages the session has received, None if this process has sent
    none. Then the session is either `fresh` and gets the instructions and the conversation so far, or it
    continues one from before, and is assumed to know all but the last message.
    """
    if known_count is not None:
        return new_input(turn, known_count)
    if not fresh:
        return new_input(turn, earlier_user_message_count(turn))
    # Without an answer of the agent in the conversation, `heard` is about a greeting that the platform spoke.
    answered = any(message.role == "assistant" for message in turn.messages)
    new = new_input(turn if answered else replace(turn, heard=None), earlier_user_message_count(turn))
    instructions = system_prompt(turn)
    note = INSTRUCTIONS_NOTE.format(text=instructions) if instructions else ""
    return join_paragraphs(note, history_summary(turn.messages), new)


def new_input(turn: Turn, known_count: int) -> str:
    """Return what is new for an agent that has received `known_count` of the caller's messages.

    These are the messages that it missed, a note if its last answer was interrupted, and the last message.
    The text is never empty.
    """
    *missed, last = (message.text for message in new_user_messages(turn.messages, known_count))
    return join_paragraphs(*missed, interruption_note(turn.heard), last) or SILENCE_PROMPT


def with_missed_context(turn: Turn, known_count: int, *, keep_history: bool) -> Turn:
    """Return the turn for a server that keeps the conversation: its last message repeats what it missed.

    The caller's unanswered messages are only in that last message. `keep_history` leaves the earlier messages
    in, for a server that may have forgotten them; without it, only the instructions remain. For `known_count`
    see `new_input`.
    """
    kept = [
        message
        for message in _earlier_messages(turn)
        if keep_history or message.role in ("system", "developer")
    ]
    while kept and kept[-1].role == "user":
        kept.pop()
    return replace(turn, messages=(*kept, Message("user", new_input(turn, known_count))))


def earlier_user_message_count(turn: Turn) -> int:
    """Return how many messages of the caller came before the last one."""
    return user_message_count(_earlier_messages(turn))


def user_message_count(messages: Sequence[Message]) -> int:
    """Return how many messages of the caller there are, without blank ones."""
    return sum(message.role == "user" for message in _spoken_messages(messages))


def new_user_messages(messages: Sequence[Message], known_count: int) -> tuple[Message, ...]:
    """Return the caller's messages after the first `known_count`; never an empty tuple.

    If there is none, the last message of the conversation counts again, unless it was answered. Then the
    caller is silent, and a prompt says so to the agent. If the caller never spoke, a prompt says
    that the call has begun.
    """
    spoken = _spoken_messages(messages)
    from_user = tuple(message for message in spoken if message.role == "user")
    if len(from_user) > known_count:
        return from_user[known_count:]
    if spoken and spoken[-1].role == "user":
        return from_user[-1:]
    return (Message("user", SILENCE_PROMPT if from_user else CALL_START_PROMPT),)


def system_prompt(turn: Turn) -> str:
    """Return the instructions of a turn as one text, "" if there are none."""
    return join_paragraphs(
        *(message.text for message in turn.messages if message.role in ("system", "developer"))
    )


def interruption_note(heard: str | None) -> str:
    """Return a note that the last answer was interrupted after `heard`; "" if `heard` is None."""
    if heard is None:
        return ""
    words = " ".join(heard.split())
    return INTERRUPTED_NOTE.format(heard=words) if words else UNHEARD_NOTE


def history_summary(messages: Sequence[Message]) -> str:
    """Return a note with the conversation before the caller's last message; "" if there is none."""
    spoken = _spoken_messages(messages)
    if spoken and spoken[-1].role == "user":
        spoken = spoken[:-1]
    quotes = ((SPEAKERS[message.role], " ".join(message.text.split())) for message in spoken)
    lines = "\n".join(f"{name}: {text}" for name, text in quotes if text)
    return HISTORY_NOTE.format(lines=lines) if lines else ""


def join_paragraphs(*texts: str) -> str:
    """Return the texts that are not blank, with an empty line between them."""
    return "\n\n".join(text for text in texts if text.strip())


def _earlier_messages(turn: Turn) -> tuple[Message, ...]:
    """Return the messages without the last one if it is the caller's."""
    ends_with_user = bool(turn.messages) and turn.messages[-1].role == "user"
    return turn.messages[:-1] if ends_with_user else turn.messages


def _spoken_messages(messages: Sequence[Message]) -> list[Message]:
    """Return the messages of the caller and the agent, without blank ones."""
    return [m for m in messages if m.role in SPEAKERS and (m.text.strip() or m.parts)]
