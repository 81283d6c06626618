"""What agents are told that keep the conversation themselves: only what is new, and what was not heard.

Such an agent knows what it said; it cannot know that its caller hung on to three words of it. And one
that never saw the beginning of a conversation has to be told that first.
"""

from __future__ import annotations

from collections.abc import Sequence

from voicegw.events import Message, Turn

NUDGE = "(The caller has been silent for a while. Say something short to bring them back.)"
OPENING = "(The call has begun, and nobody has spoken yet.)"
CUT = '(The caller interrupted you: of your last answer they heard only "{heard}".)'
UNHEARD = "(The caller interrupted you before they heard anything of your last answer.)"
BEFORE = "(The conversation so far, which you do not need to answer:\n{lines}\n)"
NAMES = {"user": "Caller", "assistant": "You"}


def system(turn: Turn) -> str:
    """The instructions of a turn, as one text."""
    return joined(*(message.text for message in turn.messages if message.role in ("system", "developer")))


def news(messages: Sequence[Message], known: int) -> tuple[Message, ...]:
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
    return (Message("user", NUDGE if words else OPENING),)


def told(messages: Sequence[Message]) -> int:
    """How many words of the caller an agent knows that was told of these messages."""
    return sum(message.role == "user" for message in _said(messages))


def note(heard: str | None) -> str:
    """What the agent should know of its last answer, "" if all of it was heard."""
    if heard is None:
        return ""
    words = " ".join(heard.split())
    return CUT.format(heard=words) if words else UNHEARD


def before(messages: Sequence[Message]) -> str:
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
