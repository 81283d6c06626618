"""A call on a websocket, as any platform makes it: a rehearsal's caller, with a clock and a socket."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from contextlib import suppress

from loadtests.callers.chat import REPEAT_DELAY, DRAFT_TEXT, CallerOptions
from loadtests.callers.scenarios import SCENARIOS, CallScenario, text_with_model
from loadtests.callers.sockets import SILENCE_TIMEOUT, WebSocket
from loadtests.callers.turn import TurnFailed, MeasuredTurn
from voicegw.simulate.platform import SimulatedPlatform, Frame
from voicegw.simulate.platforms.conversation_relay import SimulatedConversationRelay
from voicegw.simulate.platforms.retell import SimulatedRetell
from voicegw.simulate.platforms.speech_engine import SimulatedSpeechEngine
from voicegw.simulate.recording import AnswerEnded, Observation, PongSeen, FramesReturned, TextHeard, Violation
from voicegw.simulate.script import CallScript

SCRIPT = CallScript.model_validate({"turns": [{"say": "Hello?"}]})
GREETING_SECONDS = 0.2
"""Seconds before a caller speaks: what comes by then is a greeting."""
DIGITS = r"\d+"
LATE_SECONDS = 0.3
"""Seconds in which a caller listens for what must not come."""


def simulated_platform(platform: str, options: CallerOptions) -> SimulatedPlatform:
    """The platform's side of a new call."""
    now = time.time()
    if platform == "relay":
        return SimulatedConversationRelay(SCRIPT, options.secret, now=now)
    if platform == "retell":
        return SimulatedRetell(SCRIPT, options.secret, now=now)
    return SimulatedSpeechEngine(SCRIPT, options.secret, now=now)


class WebSocketCall:
    """One call. Its platform's pings are sent whenever it listens, so also while the caller thinks."""

    def __init__(self, platform: str, options: CallerOptions) -> None:
        self.options = options
        self.platform = simulated_platform(platform, options)
        self.turns: list[MeasuredTurn] = []
        self.stopped_turn: MeasuredTurn | None = None  # what has to stop
        self.stopped_at = 0.0  # and since when
        self.socket = self._connect()
        self.next_ping = time.perf_counter() + (self.platform.ping_interval or float("inf"))
        try:
            self.socket.send(self.platform.start(reconnecting=False))
            self.think(GREETING_SECONDS)
        except BaseException:
            self.socket.close()
            raise

    def run_turn(self, scenario: CallScenario, model: str, number: int) -> list[MeasuredTurn]:
        """One turn as the scenario has it; gives what was heard. Raises Failed or OSError."""
        if scenario.name == "bargein":
            return self._interrupt(text_with_model(model, number), number)
        ask = self._ask_revision if scenario.name == "revision" else self._ask_plain
        turn = ask(model, number)
        if scenario.name == "hangup":
            self.think(random.uniform(0.2, 1.0))
        elif scenario.name == "duplicate":
            self._repeat(turn)
        else:
            self._wait_for_end(turn)
        scenario.check(turn, model)
        return [turn]

    def think(self, seconds: float) -> None:
        """The caller says nothing for so long, and listens."""
        self._listen(lambda: False, seconds)

    def hang_up(self) -> None:
        with suppress(OSError, TurnFailed):
            self.socket.send(self.platform.hang_up())
        self.socket.close()

    def _connect(self) -> WebSocket:
        address = self.platform.build_url(f"{re.sub('^http', 'ws', self.options.url)}{self.options.path}")
        return WebSocket(address, self.platform.build_headers(address), self.options.anywhere)

    def _ask(self, words: str) -> MeasuredTurn:
        turn = MeasuredTurn(time.perf_counter(), self.options.marker)
        self.turns.append(turn)
        self.socket.send(self.platform.ask(words))
        return turn

    def _ask_plain(self, model: str, number: int) -> MeasuredTurn:
        return self._ask(text_with_model(model, number))

    def _wait_for_end(self, turn: MeasuredTurn) -> None:
        if not self._listen(lambda: turn.has_ended, SILENCE_TIMEOUT):
            raise TurnFailed(f"not answered within {SILENCE_TIMEOUT:g} s")

    def _repeat(self, turn: MeasuredTurn) -> None:
        """The platform asks the same again, or, if it never does, comes back after losing its connection."""
        self.think(REPEAT_DELAY)
        if frames := self.platform.repeat():
            self.socket.send(frames)
        else:
            self.socket.socket.close()
            self.socket = self._connect()
            self.socket.send(self.platform.start(reconnecting=True))
        self._wait_for_end(turn)
        self.think(LATE_SECONDS)

    def _ask_revision(self, model: str, number: int) -> MeasuredTurn:
        """A question, and soon a better one; the first may still change, where a platform tells of such."""
        words = text_with_model(model, number, DRAFT_TEXT)
        if isinstance(self.platform, SimulatedConversationRelay):
            self.socket.send(self.platform.encode_partial(words))
            self.think(REPEAT_DELAY)
            return self._ask(text_with_model(model, number))
        draft = self._ask(words)
        self.think(REPEAT_DELAY)
        turn = self._ask(text_with_model(model, number))
        self._mark_stopped(draft, turn.asked_at)
        self._wait_for_end(turn)
        if draft.has_answer:
            raise TurnFailed("the agent answered what was superseded")
        turn.stop = draft.stop
        return turn

    def _interrupt(self, words: str, number: int) -> list[MeasuredTurn]:
        """Speak over the answer, and ask something else, which is what stops it on some platforms."""
        turn = self._ask(words)
        if not self._listen(lambda: turn.has_answer, SILENCE_TIMEOUT):
            raise TurnFailed(f"not answered within {SILENCE_TIMEOUT:g} s")
        self.think(random.uniform(0.3, 1.0))
        if turn.has_ended:
            raise TurnFailed("the answer was over before the caller could interrupt it")
        frames = self.platform.interrupt(turn.text[: len(turn.text) // 2])
        at = time.perf_counter()
        self.socket.send(frames)
        if not self.platform.traits.stops_playback:  # else it is the next question that stops the agent
            self._mark_stopped(turn, at)
            self.think(LATE_SECONDS)
        short = SCENARIOS["short"]
        other = self._ask(text_with_model(short.model, number))
        if self.platform.traits.stops_playback:
            self._mark_stopped(turn, other.asked_at)
        self._wait_for_end(other)
        short.check(other, short.model)
        return [turn, other]

    def _mark_stopped(self, turn: MeasuredTurn, since: float) -> None:
        """Nothing more of this turn may come; if something does, that is how long it took."""
        turn.stop, self.stopped_turn, self.stopped_at = 0.0, turn, since

    def _listen(self, is_done: Callable[[], bool], seconds: float) -> bool:
        """Listen until something is found, so many seconds at most; send the pings that are due."""
        until = time.perf_counter() + seconds
        while not is_done():
            came = self.socket.receive(min(until, self.next_ping))
            if came is not None:
                self._on_frame(*came)
            elif time.perf_counter() >= until:
                return False
            else:
                self.next_ping += self.platform.ping_interval or 0.0
                self.socket.send(self.platform.ping())
        return True

    def _on_frame(self, now: float, frame: Frame) -> None:
        """What a frame means for the turn that it belongs to."""
        heard = self.platform.receive(frame)
        if any(isinstance(each, PongSeen) for each in heard):
            return
        newest = len(self.turns) - 1
        old = any(isinstance(each, TextHeard | AnswerEnded) and each.turn != newest for each in heard)
        if self.stopped_turn is not None and (old or self.stopped_turn is self.turns[-1]):
            self.stopped_turn.stop = now - self.stopped_at
        elif self.turns:
            self.turns[-1].add_event(now)
        for each in heard:
            self._apply(now, each)

    def _apply(self, now: float, heard: Observation) -> None:
        match heard:
            case TextHeard(turn=number, text=text) if number is not None:
                self.turns[number].add_text(now, text)
            case AnswerEnded(turn=number) if number is not None:
                self.turns[number].finish(now)
            case FramesReturned(frames=frames):
                self.socket.send(frames)
            case Violation(item=item, reason=why):
                raise TurnFailed(f"{item}: {re.sub(DIGITS, 'N', why)}")
