"""The recording of a simulated call: what happened, and when. Pure; times are seconds since the call began.

It holds facts only; `voicegw.simulate.checks` judges them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TypeAlias

from voicegw.simulate.script import CallStep

CLAUSE_ENDS = (".", "!", "?", "…", "。", "！", "？", ",", ":", ";", "،", "؟", "，", "、")
"""Text that ends with one of these is a clause, as acknowledgements are."""


@dataclass(frozen=True, slots=True)
class TextHeard:
    """Text that the caller hears. `turn` is the index of its turn; None for text outside of turns."""

    turn: int | None
    text: str


@dataclass(frozen=True, slots=True)
class AnswerEnded:
    """The answer to a turn is complete."""

    turn: int | None


@dataclass(frozen=True, slots=True)
class ActionSeen:
    """The agent executed an action or called the tool `name`.

    `turn` is the index of its turn. `id` is that of the tool call, `arguments` a JSON object as text.
    """

    turn: int | None
    name: str
    arguments: str = "{}"
    id: str = ""


@dataclass(frozen=True, slots=True)
class PongSeen:
    """The answer to a ping; `is_expected` is False for a pong that answers another ping."""

    is_expected: bool = True


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that the platform does not accept.

    `item` names the entry of the checklist. `reason` is a sentence. `location` is the turn or the request
    ("turn 2").
    """

    item: str
    reason: str
    location: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class FramesReturned:
    """`frames` that the platform sends at once in return: the result of a tool, for example."""

    frames: tuple[str | bytes, ...]


@dataclass(frozen=True, slots=True)
class HangUpSeen:
    """The agent ended the call: the platform hangs up."""


Observation: TypeAlias = (
    TextHeard | AnswerEnded | ActionSeen | PongSeen | Violation | FramesReturned | HangUpSeen
)


@dataclass(slots=True)
class RecordedTurn:
    """One turn: its step in the script, and its course."""

    step: CallStep
    """The step of the script."""
    asked_at: float
    """When the question was sent."""
    number: int = 0
    """The number of its step in the script, from 1; 0 if the turns are only counted."""
    texts: list[tuple[float, str]] = field(default_factory=list)
    """(time, text) of everything that the caller heard."""
    actions: list[tuple[float, ActionSeen]] = field(default_factory=list)
    """(time, action) of each action or tool call."""
    end_times: list[float] = field(default_factory=list)
    """When its end arrived; more than one time is a fault of the gateway."""
    stopped_at: float | None = None
    """When the caller interrupted it or asked something newer: no text may arrive later."""
    late_interrupt_at: float | None = None
    """When the platform reported, during this turn, that the answer before it was interrupted."""
    is_unprompted: bool = False
    """Did the platform send nothing, because it reports no silence?"""
    stops_playback: bool = False
    """Does the platform stop playing by itself, so that late text does no harm?"""
    lost_at: float | None = None
    """When its connection was lost."""
    repeated_at: float | None = None
    """When the question was sent once more as a new request."""
    wait_ended_at: float | None = None
    """When the platform stopped waiting for more."""
    caller_hung_up: bool = False
    """Did the wait end because the caller hung up?"""
    failure: str = ""
    """The error that ended it, "" if there was none."""
    status: int | None = None
    """The status of its HTTP response."""
    late_texts: list[tuple[float, str]] = field(default_factory=list)
    """(time, text) of everything that arrived after `stopped_at`."""

    @property
    def text(self) -> str:
        """The whole text that the caller heard."""
        return "".join(text for _, text in self.texts)

    @property
    def takes_back(self) -> bool:
        """Has the agent said all that the script expects after an action that was refused?"""
        is_complete = bool(self.end_times and self.texts) and self.end_times[-1] >= self.texts[-1][0]
        return is_complete and re.search(self.step.refused or "", self.text) is not None

    @property
    def outcome(self) -> str:
        """One of "stopped", "lost", "answered", "hung up" and "unanswered"."""
        if self.stopped_at is not None:
            return "stopped"
        if self.lost_at is not None and not self.end_times:
            return "lost"
        if self.end_times:
            return "answered"
        return "hung up" if self.caller_hung_up else "unanswered"

    @property
    def is_cut_short(self) -> bool:
        """Did the caller cut it short?"""
        return self.stopped_at is not None or (self.caller_hung_up and not self.end_times)

    @property
    def first_text_delay(self) -> float | None:
        """Seconds from the question to the first text that is not blank."""
        return self.nonblank_texts[0][0] - self.asked_at if self.nonblank_texts else None

    @property
    def ack_delay(self) -> float | None:
        """Seconds to the acknowledgement: a first text that is a clause, and is not the whole answer.

        In a turn that was cut short it may be the only text: the rest of the answer is not known.
        """
        texts = self.nonblank_texts
        if not texts or (len(texts) == 1 and not self.is_cut_short) or not _is_clause(texts[0][1]):
            return None
        return texts[0][0] - self.asked_at

    @property
    def nonblank_texts(self) -> list[tuple[float, str]]:
        """The texts that are not blank."""
        return [(at, text) for at, text in self.texts if text.strip()]

    @property
    def answer_texts(self) -> list[tuple[float, str]]:
        """The agent's own texts, without acknowledgements, as far as this is visible from outside.

        A repeated acknowledgement is left out too. So is a clause that begins the answer to the question
        that was sent once more.
        """
        if self.ack_delay is None:
            return self.nonblank_texts
        (_, ack), *rest = self.nonblank_texts
        rest = [(at, text) for at, text in rest if text.strip() != ack.strip()]
        is_second_ack = (
            self.repeated_at is not None
            and rest
            and rest[0][0] >= self.repeated_at
            and _is_clause(rest[0][1])
        )
        return rest[1:] if is_second_ack and (len(rest) > 1 or self.is_cut_short) else rest

    @property
    def answer_delay(self) -> float | None:
        """Seconds to the agent's own text, as far as this is visible from outside."""
        return self.answer_texts[0][0] - self.asked_at if self.answer_texts else None

    @property
    def longest_silence(self) -> float:
        """The longest silence in the turn, in seconds.

        It is before the first text, between two texts, or after the last one for as long as the platform
        waited for more.
        """
        times = [self.asked_at, *(at for at, _ in self.nonblank_texts)]
        wait_end = self.wait_ended_at if self.stopped_at is None else self.stopped_at
        if self.end_times:
            times += self.end_times[:1] if len(times) == 1 else []
        elif wait_end is not None:
            times.append(wait_end)
        return max((later - earlier for earlier, later in pairwise(times)), default=0.0)

    @property
    def stop_delay(self) -> float | None:
        """Seconds from the interruption to the last late text, or 0; None if late text does no harm."""
        if self.stopped_at is None or self.stops_playback:
            return None
        return max((at - self.stopped_at for at, text in self.late_texts if text.strip()), default=0.0)


@dataclass(slots=True)
class Recording:
    """A whole call."""

    turns: list[RecordedTurn] = field(default_factory=list)
    """The turns that were asked, in order."""
    greeting: list[tuple[float, str]] = field(default_factory=list)
    """(time, text) of everything that the caller heard outside of turns."""
    violations: list[Violation] = field(default_factory=list)
    """The violations that were found while frames were read."""
    pings: list[tuple[float, float | None]] = field(default_factory=list)
    """(sent, answered) of each ping; `answered` is None without a pong."""
    log: list[tuple[float, str, str]] = field(default_factory=list)
    """(time, kind, text) of everything on the wire; kind is ">" sent, "<" received, or "!" an event."""
    status: int | None = None
    """The status of the handshake, 101 if it was accepted, or that of the last HTTP response."""
    forged_status: int | None = None
    """The status that a false proof got; None if none was tried."""
    refusal_body: str = ""
    """The beginning of the body of a refusal."""
    malformed_before: list[int] = field(default_factory=list)
    """The numbers of the turns before which malformed frames were sent."""
    skipped_steps: list[tuple[int, CallStep]] = field(default_factory=list)
    """(number, step) of the steps that the platform does not have."""
    connected_at: float | None = None
    """When the first connection was open."""
    current_connection_at: float = 0.0
    """When the current connection was open."""
    gateway_close: tuple[float, int] | None = None
    """(time, code) of the close from the gateway."""
    agent_ended_call: bool = False
    """Did the agent end or transfer the call?"""
    failure: str = ""
    """The reason why the simulation stopped early, "" if it came to its end."""

    @property
    def numbered_turns(self) -> list[tuple[int, RecordedTurn]]:
        """The turns, each with its number in the script."""
        return [(turn.number or place, turn) for place, turn in enumerate(self.turns, 1)]

    def record(self, observation: Observation, now: float) -> None:
        """Add one observation; `now` is its time."""
        match observation:
            case Violation():
                newest = f"turn {self.numbered_turns[-1][0]}" if self.turns else ""
                self.violations.append(replace(observation, location=observation.location or newest))
            case HangUpSeen():
                self.agent_ended_call = True
            case PongSeen(is_expected=is_expected):
                self._record_pong(now, is_expected)
            case TextHeard(turn=None):
                self.greeting.append((now, observation.text))
            case TextHeard(turn=int(turn)):
                self._record_text(self.turns[turn], observation.text, now)
            case AnswerEnded(turn=int(turn)):
                self.turns[turn].end_times.append(now)
            case ActionSeen(turn=int(turn)):
                self.turns[turn].actions.append((now, observation))

    def _record_text(self, turn: RecordedTurn, text: str, now: float) -> None:
        if turn.stopped_at is None:
            turn.texts.append((now, text))
        else:
            turn.late_texts.append((now, text))

    def _record_pong(self, now: float, is_expected: bool) -> None:
        for place, (sent, answered) in enumerate(self.pings):
            if answered is None and sent >= self.current_connection_at:
                if is_expected:
                    self.pings[place] = (sent, now)
                return
        self.violations.append(Violation("pong", "a pong without a ping"))


def _is_clause(text: str) -> bool:
    return text.rstrip().endswith(CLAUSE_ENDS)
