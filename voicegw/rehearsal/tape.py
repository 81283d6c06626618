"""The tape of a rehearsed call: what happened, and when. Pure; times are seconds since the call began."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeAlias

from voicegw.rehearsal.script import Step

ENDS = (".", "!", "?", "…", "。", "！", "？", ",", ":", ";", "،", "؟", "，", "、")
"""How words end that are a clause of their own, as acknowledgements are."""


@dataclass(frozen=True, slots=True)
class Words:
    """Words for the caller's ear. `turn` is the number of the turn that they belong to, None for no turn."""

    turn: int | None
    text: str


@dataclass(frozen=True, slots=True)
class Done:
    """The answer to a turn is complete."""

    turn: int | None


@dataclass(frozen=True, slots=True)
class Acted:
    """The agent did something, or called a tool. `id` is the call's, `arguments` a JSON object as text."""

    turn: int | None
    name: str
    arguments: str = "{}"
    id: str = ""


@dataclass(frozen=True, slots=True)
class Ponged:
    """The answer to a ping; `right` if it is the one that was to come."""

    right: bool = True


@dataclass(frozen=True, slots=True)
class Wrong:
    """Something that the platform does not take. `item` names the entry of the checklist."""

    item: str
    why: str


@dataclass(frozen=True, slots=True)
class Returned:
    """The platform sends these frames in return, at once: the result of a tool, for example."""

    frames: tuple[str | bytes, ...]


@dataclass(frozen=True, slots=True)
class HungUp:
    """The agent ended the call: the platform hangs up."""


Heard: TypeAlias = Words | Done | Acted | Ponged | Wrong | Returned | HungUp


@dataclass(slots=True)
class Taped:
    """One turn as it went.

    `ends` are the times at which its end came. `stopped` is when the caller interrupted it or asked for
    something newer: nothing of it may come later. `lost` is when its connection died, `status` that of its
    HTTP answer.
    """

    step: Step
    asked: float
    words: list[tuple[float, str]] = field(default_factory=list)
    acted: list[tuple[float, Acted]] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    stopped: float | None = None
    lost: float | None = None
    status: int | None = None
    late: list[tuple[float, str]] = field(default_factory=list)

    @property
    def text(self) -> str:
        """Everything that the caller heard of it."""
        return "".join(text for _, text in self.words)

    @property
    def outcome(self) -> str:
        if self.stopped is not None:
            return "stopped"
        if self.lost is not None and not self.ends:
            return "lost"
        return "answered" if self.ends else "unanswered"

    @property
    def first(self) -> float | None:
        """Seconds to the first words."""
        return next((at - self.asked for at, text in self.words if text.strip()), None)

    @property
    def ack(self) -> float | None:
        """Seconds to the acknowledgement: first words that are a clause of their own, and not all there are.

        Of a turn that was cut short, nobody knows what else there would have been.
        """
        spoken = [(at, text) for at, text in self.words if text.strip()]
        alone = len(spoken) == 1 and self.stopped is None
        if not spoken or alone or not spoken[0][1].rstrip().endswith(ENDS):
            return None
        return spoken[0][0] - self.asked

    @property
    def answer(self) -> float | None:
        """Seconds to the agent's own words, as far as one can tell from outside."""
        spoken = [at for at, text in self.words if text.strip()]
        if not spoken:
            return None
        own = spoken if self.ack is None else spoken[1:]
        return own[0] - self.asked if own else None

    @property
    def gap(self) -> float:
        """The longest silence within it, in seconds: before the first words or between any two."""
        times = [self.asked, *(at for at, text in self.words if text.strip())]
        if len(times) == 1 and self.ends:
            times.append(self.ends[0])
        return max((later - earlier for earlier, later in pairwise(times)), default=0.0)

    @property
    def stop(self) -> float | None:
        """Seconds from the interruption to the last late word; 0 if none came, None without interruption."""
        if self.stopped is None:
            return None
        return max((at - self.stopped for at, text in self.late if text.strip()), default=0.0)


@dataclass(slots=True)
class Tape:
    """A whole call.

    `log` is everything that went over the wire: (time, ">" sent or "<" received or "!" happened, text).
    `status` is that of the handshake, 101 if it was taken; `forged` what a false proof got, None if none was
    tried. `opened` is when the first connection was there, `since` the present one. `pings` are (sent,
    answered or None); `closed` is when and with which code the gateway hung up.
    """

    turns: list[Taped] = field(default_factory=list)
    greeting: list[tuple[float, str]] = field(default_factory=list)
    wrongs: list[Wrong] = field(default_factory=list)
    pings: list[tuple[float, float | None]] = field(default_factory=list)
    log: list[tuple[float, str, str]] = field(default_factory=list)
    status: int | None = None
    forged: int | None = None
    opened: float | None = None
    since: float = 0.0
    closed: tuple[float, int] | None = None
    over: bool = False
    """Did the agent end the call?"""
    failure: str = ""
    """Why the rehearsal could not go on, "" if it came to its end."""

    def hear(self, heard: Heard, now: float) -> None:
        """Note one thing that came."""
        match heard:
            case Wrong():
                self.wrongs.append(heard)
            case HungUp():
                self.over = True
            case Ponged(right=right):
                self._pong(now, right)
            case Words(turn=None):
                self.greeting.append((now, heard.text))
            case Words(turn=int(turn)):
                self._words(self.turns[turn], heard.text, now)
            case Done(turn=int(turn)):
                self.turns[turn].ends.append(now)
            case Acted(turn=int(turn)):
                self.turns[turn].acted.append((now, heard))

    def _words(self, turn: Taped, text: str, now: float) -> None:
        if turn.stopped is None:
            turn.words.append((now, text))
        else:
            turn.late.append((now, text))

    def _pong(self, now: float, right: bool) -> None:
        for place, (sent, answered) in enumerate(self.pings):
            if answered is None and sent >= self.since:
                if right:
                    self.pings[place] = (sent, now)
                return
        self.wrongs.append(Wrong("pong", "a pong that nobody asked for"))
