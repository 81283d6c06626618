"""A call on a websocket, as any platform makes it: a rehearsal's caller, with a clock and a socket."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from contextlib import suppress

from loadtests.callers.chat import AGAIN, DRAFT, Line
from loadtests.callers.scenarios import SCENARIOS, Scenario, wish
from loadtests.callers.sockets import SILENCE, Phone
from loadtests.callers.turn import Failed, Turn
from voicegw.simulate.platform import Caller, Frame
from voicegw.simulate.platforms.conversation_relay import Relay
from voicegw.simulate.platforms.retell import Retell
from voicegw.simulate.platforms.speech_engine import SpeechEngine
from voicegw.simulate.recording import Done, Heard, Ponged, Returned, Words, Wrong
from voicegw.simulate.script import Script

SCRIPT = Script.model_validate({"turns": [{"say": "Hello?"}]})
OPENING = 0.2
"""Seconds before a caller speaks: what comes by then is a greeting."""
NUMBER = r"\d+"
LATE = 0.3
"""Seconds in which a caller listens for what must not come."""


def caller(platform: str, line: Line) -> Caller:
    """The platform's side of a new call."""
    now = time.time()
    if platform == "relay":
        return Relay(SCRIPT, line.secret, now=now)
    if platform == "retell":
        return Retell(SCRIPT, line.secret, now=now)
    return SpeechEngine(SCRIPT, line.secret, now=now)


class PhoneCall:
    """One call. Its platform's pings are sent whenever it listens, so also while the caller thinks."""

    def __init__(self, platform: str, line: Line) -> None:
        self.line = line
        self.caller = caller(platform, line)
        self.turns: list[Turn] = []
        self.cut: Turn | None = None  # what has to stop
        self.since = 0.0  # and since when
        self.phone = self._dial()
        self.ping = time.perf_counter() + (self.caller.every or float("inf"))
        try:
            self.phone.send(self.caller.open(again=False))
            self.think(OPENING)
        except BaseException:
            self.phone.hang_up()
            raise

    def turn(self, scenario: Scenario, model: str, number: int) -> list[Turn]:
        """One turn as the scenario has it; gives what was heard. Raises Failed or OSError."""
        if scenario.name == "bargein":
            return self._interrupt(wish(model, number), number)
        ask = self._revised if scenario.name == "revision" else self._plain
        turn = ask(model, number)
        if scenario.name == "hangup":
            self.think(random.uniform(0.2, 1.0))
        elif scenario.name == "duplicate":
            self._repeat(turn)
        else:
            self._answered(turn)
        scenario.judge(turn, model)
        return [turn]

    def think(self, seconds: float) -> None:
        """The caller says nothing for so long, and listens."""
        self._listen(lambda: False, seconds)

    def hang_up(self) -> None:
        with suppress(OSError, Failed):
            self.phone.send(self.caller.leave())
        self.phone.hang_up()

    def _dial(self) -> Phone:
        address = self.caller.address(f"{re.sub('^http', 'ws', self.line.url)}{self.line.path}")
        return Phone(address, self.caller.headers(address), self.line.anywhere)

    def _ask(self, words: str) -> Turn:
        turn = Turn(time.perf_counter(), self.line.marker)
        self.turns.append(turn)
        self.phone.send(self.caller.ask(words))
        return turn

    def _plain(self, model: str, number: int) -> Turn:
        return self._ask(wish(model, number))

    def _answered(self, turn: Turn) -> None:
        if not self._listen(lambda: turn.ended, SILENCE):
            raise Failed(f"not answered within {SILENCE:g} s")

    def _repeat(self, turn: Turn) -> None:
        """The platform asks the same again, or, if it never does, comes back after losing its connection."""
        self.think(AGAIN)
        if frames := self.caller.repeat():
            self.phone.send(frames)
        else:
            self.phone.socket.close()
            self.phone = self._dial()
            self.phone.send(self.caller.open(again=True))
        self._answered(turn)
        self.think(LATE)

    def _revised(self, model: str, number: int) -> Turn:
        """A question, and soon a better one; the first may still change, where a platform tells of such."""
        words = wish(model, number, DRAFT)
        if isinstance(self.caller, Relay):
            self.phone.send(self.caller.partial(words))
            self.think(AGAIN)
            return self._ask(wish(model, number))
        draft = self._ask(words)
        self.think(AGAIN)
        turn = self._ask(wish(model, number))
        self._stop(draft, turn.asked)
        self._answered(turn)
        if draft.answered:
            raise Failed("the agent answered what was superseded")
        turn.stop = draft.stop
        return turn

    def _interrupt(self, words: str, number: int) -> list[Turn]:
        """Speak over the answer, and ask something else, which is what stops it on some platforms."""
        turn = self._ask(words)
        if not self._listen(lambda: turn.answered, SILENCE):
            raise Failed(f"not answered within {SILENCE:g} s")
        self.think(random.uniform(0.3, 1.0))
        if turn.ended:
            raise Failed("the answer was over before the caller could interrupt it")
        frames = self.caller.interrupt(turn.text[: len(turn.text) // 2])
        at = time.perf_counter()
        self.phone.send(frames)
        if not self.caller.ways.mutes:  # else it is the next question that stops the agent
            self._stop(turn, at)
            self.think(LATE)
        short = SCENARIOS["short"]
        other = self._ask(wish(short.model, number))
        if self.caller.ways.mutes:
            self._stop(turn, other.asked)
        self._answered(other)
        short.judge(other, short.model)
        return [turn, other]

    def _stop(self, turn: Turn, since: float) -> None:
        """Nothing more of this turn may come; if something does, that is how long it took."""
        turn.stop, self.cut, self.since = 0.0, turn, since

    def _listen(self, found: Callable[[], bool], seconds: float) -> bool:
        """Listen until something is found, so many seconds at most; send the pings that are due."""
        until = time.perf_counter() + seconds
        while not found():
            came = self.phone.receive(min(until, self.ping))
            if came is not None:
                self._take(*came)
            elif time.perf_counter() >= until:
                return False
            else:
                self.ping += self.caller.every or 0.0
                self.phone.send(self.caller.ping())
        return True

    def _take(self, now: float, frame: Frame) -> None:
        """What a frame means for the turn that it belongs to."""
        heard = self.caller.hear(frame)
        if any(isinstance(each, Ponged) for each in heard):
            return
        newest = len(self.turns) - 1
        old = any(isinstance(each, Words | Done) and each.turn != newest for each in heard)
        if self.cut is not None and (old or self.cut is self.turns[-1]):
            self.cut.stop = now - self.since
        elif self.turns:
            self.turns[-1].event(now)
        for each in heard:
            self._mean(now, each)

    def _mean(self, now: float, heard: Heard) -> None:
        match heard:
            case Words(turn=number, text=text) if number is not None:
                self.turns[number].words(now, text)
            case Done(turn=number) if number is not None:
                self.turns[number].end(now)
            case Returned(frames=frames):
                self.phone.send(frames)
            case Wrong(item=item, why=why):
                raise Failed(f"{item}: {re.sub(NUMBER, 'N', why)}")
