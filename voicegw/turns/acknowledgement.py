"""Decide when the gateway speaks while the agent is silent, and which phrase it says.

Pure: this module never reads a clock. `AckSchedule` names a `deadline`; its owner calls `take_due_phrase`
at that time, and `observe` for each event of the agent. The punctuation of phrases is decided in
`voicegw.turns.dialects`.
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
"""Tools that do not delay the acknowledgement, because speech may precede their call.

They are the gateway's own call tools and the system tools of ElevenLabs.

ElevenLabs' skip_turn is not listed: an agent that skips its turn must stay silent.
"""


@dataclass(frozen=True, slots=True)
class AckPolicy:
    """When an agent's turns are acknowledged (`[agents.NAME.ack]`)."""

    after: float | None = 0.0
    """Seconds of silence before the acknowledgement; 0 for the first chunk, None for never."""
    with_tools: float = 0.7
    """Minimum wait in seconds when the request offers tools: an answer may be only a tool call."""
    every: float | None = None
    """Seconds of silent work between two progress phrases; None for none."""


def ack_delay(policy: AckPolicy, turn: Turn) -> float | None:
    """Return the seconds before the acknowledgement of this turn; None for no acknowledgement.

    The request alone decides. A turn that brings a tool's result is not acknowledged: the caller already
    heard the words before the tool call.
    """
    if policy.after is None or (turn.messages and turn.messages[-1].role in ("tool", "function")):
        return None
    if turn.tool_choice != "none" and any(tool.name not in SYSTEM_TOOLS for tool in turn.tools):
        return max(policy.after, policy.with_tools)
    return policy.after


def pick_phrase(phrases: Sequence[str], messages: Sequence[Message]) -> int:
    """Return the index of the phrase for this turn: the next one, but never the one that was heard last.

    No state is kept: the history that the platform sends (`messages`) shows both. `phrases` is not empty.
    """
    answers = [message.text for message in messages if message.role == "assistant"]
    last_answer = answers[-1].lstrip() if answers else ""
    for offset in range(len(phrases)):
        index = (len(answers) + offset) % len(phrases)
        if not last_answer.startswith(phrases[index]):
            return index
    return 0


class AckSchedule:
    """The gateway's own phrases during one turn: one acknowledgement, then progress phrases."""

    __slots__ = ("after", "deadline", "every", "is_working", "phrase", "progress", "progress_count")

    def __init__(
        self, phrase: str, after: float | None, *, progress: Sequence[str] = (), every: float | None = None
    ) -> None:
        # The acknowledgement, with punctuation; "" for none.
        self.phrase = phrase
        # Seconds from `start` to the acknowledgement; None if it never comes or has been said.
        self.after = after if phrase else None
        # The progress phrases, with punctuation, said in this order again and again.
        self.progress = progress
        # Seconds of silent work before each progress phrase; None for none.
        self.every = every if progress else None
        # The time at which `take_due_phrase` returns a phrase; None for never.
        self.deadline: float | None = None
        # True after an activity of the agent, until it speaks.
        self.is_working = False
        # The number of progress phrases that have been said.
        self.progress_count = 0

    def start(self, now: float) -> str:
        """Begin the turn. Return the phrase of the first chunk, "" if it comes later or never."""
        if self.after == 0:
            return self.phrase
        self.deadline = None if self.after is None else now + self.after
        return ""

    def take_due_phrase(self, now: float) -> str:
        """Return the phrase to say now, or "" before the deadline. Set the next deadline."""
        if self.deadline is None or now < self.deadline:
            return ""
        if self.after:
            self.after, phrase = None, self.phrase
        else:
            phrase = self.progress[self.progress_count % len(self.progress)]
            self.progress_count += 1
        self.deadline = now + self.every if self.every is not None and self.is_working else None
        return phrase

    def observe(self, event: Event, now: float) -> None:
        """Update the schedule for an event of the agent.

        Visible text cancels the deadline. A tool call ends the schedule. An activity starts the progress
        phrases.
        """
        if type(event) is Activity:
            self.is_working = True
            if self.deadline is None and self.every is not None:
                self.deadline = now + self.every
        elif type(event) is ToolCall:
            self.after = self.every = self.deadline = None
        elif type(event) is str and event and not event.isspace():
            self.after = self.deadline = None
            self.is_working = False
