"""When to say what while the agent is silent.

Pure: it is told the time and never asks. It names a `deadline`; whoever has the clock calls `due`
then, and `heard` when the agent spoke first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from voicegw.events import Activity, Event, Message, ToolCall, Turn

SYSTEM_TOOLS = frozenset(
    {
        "end_call",
        "language_detection",
        "transfer_to_agent",
        "transfer_to_number",
        "play_keypad_touch_tone",
        "voicemail_detection",
        "transfer_call",
        "send_digits",
        "switch_language",
        "play_audio",
    }
)
"""Tools before which speech is welcome: what the gateway does on calls, and ElevenLabs' own, all but
skip_turn, after which nobody may speak."""


@dataclass(frozen=True, slots=True)
class AckPolicy:
    """`after`: seconds of silence before words, 0 for the first chunk, None for never.

    `with_tools`: the least wait when the request offers tools, so that an answer that is only a tool
    call is not spoken over. `every`: seconds of silent work after which a line of progress is said, None
    for never.
    """

    after: float | None = 0.0
    with_tools: float = 0.7
    every: float | None = None


def ack_delay(policy: AckPolicy, turn: Turn) -> float | None:
    """How long this turn's words wait, in seconds; None for no words. Decided from the request alone."""
    if policy.after is None or (turn.messages and turn.messages[-1].role in ("tool", "function")):
        return None
    if turn.tool_choice != "none" and any(tool.name not in SYSTEM_TOOLS for tool in turn.tools):
        return max(policy.after, policy.with_tools)
    return policy.after


def pick_phrase(phrases: Sequence[str], messages: Sequence[Message]) -> str:
    """The phrase for this turn: in turn, and never the one the caller heard last.

    Stateless: the history that the platform sends back tells both how far we are and what we said.
    """
    answers = [message.text for message in messages if message.role == "assistant"]
    last = answers[-1].lstrip() if answers else ""
    for step in range(len(phrases)):
        phrase = phrases[(len(answers) + step) % len(phrases)]
        if not last.startswith(phrase):
            return phrase
    return phrases[0]


class AckSchedule:
    """The words of one listener's turn. `deadline` is when `due` wants to be asked, None for never.

    `words` are said once, after `after` seconds of silence; lines of `progress` in turn, whenever the
    agent has worked in silence for `every` seconds.
    """

    __slots__ = ("after", "deadline", "every", "progress", "said", "words", "working")

    def __init__(
        self, words: str, after: float | None, *, progress: Sequence[str] = (), every: float | None = None
    ) -> None:
        self.words = words
        self.after = after if words else None
        self.progress = progress
        self.every = every if progress else None
        self.deadline: float | None = None
        self.working = False
        self.said = 0

    def start(self, now: float) -> str:
        """The turn began: the words of the first chunk, "" if they wait or never come."""
        if self.after == 0:
            return self.words
        self.deadline = None if self.after is None else now + self.after
        return ""

    def due(self, now: float) -> str:
        """The words to say now, "" if it is not time."""
        if self.deadline is None or now < self.deadline:
            return ""
        if self.after:
            self.after, words = None, self.words
        else:
            words = self.progress[self.said % len(self.progress)]
            self.said += 1
        self.deadline = now + self.every if self.every is not None and self.working else None
        return words

    def observe(self, event: Event, now: float) -> None:
        """What the agent did: visible text settles the matter, a tool call for good; work is silence."""
        if type(event) is Activity:
            self.working = True
            if self.deadline is None and self.every is not None:
                self.deadline = now + self.every
        elif type(event) is ToolCall:
            self.after = self.every = self.deadline = None
        elif type(event) is str and event and not event.isspace():
            self.after = self.deadline = None
            self.working = False
