"""The tape of a rehearsed call: what happened, and when. Pure; times are seconds since the call began."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TypeAlias

from voicegw.simulate.script import Step

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
    """Something that the platform does not take. `item` is the checklist's entry, `where` the turn."""

    item: str
    why: str
    where: str = field(default="", compare=False)


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

    `number` is that of its step in the script, from 1; 0 if it is only counted. `ends` are the times at which
    its end came. `stopped` is when the caller interrupted it or asked for something newer: nothing of it may
    come later, unless the platform `mutes` it by itself. `lost` is when its connection died, `anew` when it
    was asked once more as something new; `left` is when the platform waited no longer, `hung_up` if that was
    because the caller hung up, and `why` what cut it short instead. `status` is that of its HTTP answer.
    """

    step: Step
    asked: float
    number: int = 0
    words: list[tuple[float, str]] = field(default_factory=list)
    acted: list[tuple[float, Acted]] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    stopped: float | None = None
    mutes: bool = False
    lost: float | None = None
    anew: float | None = None
    left: float | None = None
    hung_up: bool = False
    why: str = ""
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
        if self.ends:
            return "answered"
        return "hung up" if self.hung_up else "unanswered"

    @property
    def cut(self) -> bool:
        """Did the caller cut it short?"""
        return self.stopped is not None or (self.hung_up and not self.ends)

    @property
    def first(self) -> float | None:
        """Seconds to the first words."""
        return self.spoken[0][0] - self.asked if self.spoken else None

    @property
    def ack(self) -> float | None:
        """Seconds to the acknowledgement: first words that are a clause of their own, and not all there are.

        Of a turn that was cut short, nobody knows what else there would have been.
        """
        spoken = self.spoken
        if not spoken or (len(spoken) == 1 and not self.cut) or not _clause(spoken[0][1]):
            return None
        return spoken[0][0] - self.asked

    @property
    def spoken(self) -> list[tuple[float, str]]:
        """The words that are not blank."""
        return [(at, text) for at, text in self.words if text.strip()]

    @property
    def own(self) -> list[tuple[float, str]]:
        """The agent's own words, as far as one can tell from outside: without acknowledgements.

        One that comes again is none of them either, nor what begins the answer to the question asked anew.
        """
        if self.ack is None:
            return self.spoken
        (_, ack), *rest = self.spoken
        rest = [(at, text) for at, text in rest if text.strip() != ack.strip()]
        again = self.anew is not None and rest and rest[0][0] >= self.anew and _clause(rest[0][1])
        return rest[1:] if again and (len(rest) > 1 or self.cut) else rest

    @property
    def answer(self) -> float | None:
        """Seconds to the agent's own words, as far as one can tell from outside."""
        return self.own[0][0] - self.asked if self.own else None

    @property
    def gap(self) -> float:
        """The longest silence within it, in seconds: before the first words, between any two, or after
        the last for as long as the platform waited for more.
        """
        times = [self.asked, *(at for at, _ in self.spoken)]
        until = self.left if self.stopped is None else self.stopped
        if self.ends:
            times += self.ends[:1] if len(times) == 1 else []
        elif until is not None:
            times.append(until)
        return max((later - earlier for earlier, later in pairwise(times)), default=0.0)

    @property
    def stop(self) -> float | None:
        """Seconds from the interruption to the last late word, or 0; None where none does any harm."""
        if self.stopped is None or self.mutes:
            return None
        return max((at - self.stopped for at, text in self.late if text.strip()), default=0.0)


@dataclass(slots=True)
class Tape:
    """A whole call.

    `log` is everything that went over the wire: (time, ">" sent or "<" received or "!" happened, text).
    `status` is that of the handshake, 101 if it was taken, and `body` the beginning of what came with a
    refusal; `forged` is what a false proof got, None if none was tried. `opened` is when the first connection
    was there, `since` the present one. `pings` are (sent, answered or None); `closed` is when and with which
    code the gateway hung up. `nonsense` are the numbers of the turns before which nonsense was sent,
    `skipped` the steps that the platform does not know.
    """

    turns: list[Taped] = field(default_factory=list)
    greeting: list[tuple[float, str]] = field(default_factory=list)
    wrongs: list[Wrong] = field(default_factory=list)
    pings: list[tuple[float, float | None]] = field(default_factory=list)
    log: list[tuple[float, str, str]] = field(default_factory=list)
    status: int | None = None
    forged: int | None = None
    body: str = ""
    nonsense: list[int] = field(default_factory=list)
    skipped: list[tuple[int, Step]] = field(default_factory=list)
    opened: float | None = None
    since: float = 0.0
    closed: tuple[float, int] | None = None
    over: bool = False
    """Did the agent end the call?"""
    failure: str = ""
    """Why the rehearsal could not go on, "" if it came to its end."""

    @property
    def numbered(self) -> list[tuple[int, Taped]]:
        """The turns, each with its number in the script."""
        return [(turn.number or place, turn) for place, turn in enumerate(self.turns, 1)]

    def hear(self, heard: Heard, now: float) -> None:
        """Note one thing that came."""
        match heard:
            case Wrong():
                where = f"turn {self.numbered[-1][0]}" if self.turns else ""
                self.wrongs.append(replace(heard, where=heard.where or where))
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


def _clause(text: str) -> bool:
    return text.rstrip().endswith(ENDS)
