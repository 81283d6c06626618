"""A call on a websocket: the simulated platform of `voicegw simulate`, with a clock and a socket."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from contextlib import suppress

from loadtests.callers.chat import DRAFT_TEXT, REPEAT_DELAY
from loadtests.callers.options import CallerOptions
from loadtests.callers.scenarios import SCENARIOS, CallScenario, text_with_model
from loadtests.callers.sockets import SILENCE_TIMEOUT, WebSocket
from loadtests.callers.turn import MeasuredTurn, TurnFailed
from voicegw.simulate.platform import Frame, SimulatedPlatform
from voicegw.simulate.platforms.conversation_relay import SimulatedConversationRelay
from voicegw.simulate.platforms.retell import SimulatedRetell
from voicegw.simulate.platforms.speech_engine import SimulatedSpeechEngine
from voicegw.simulate.recording import (
    AnswerEnded,
    FramesReturned,
    Observation,
    PongSeen,
    TextHeard,
    Violation,
)
from voicegw.simulate.script import CallScript

SCRIPT = CallScript.model_validate({"turns": [{"say": "Hello?"}]})
GREETING_SECONDS = 0.2
"""Seconds before a caller speaks; what comes before that is a greeting."""
DIGITS = r"\d+"
LATE_SECONDS = 0.3
"""Seconds in which a caller listens for events that must not come."""


def simulated_platform(platform: str, options: CallerOptions) -> SimulatedPlatform:
    """Return the platform's side of a new call."""
    now = time.time()
    if platform == "relay":
        return SimulatedConversationRelay(SCRIPT, options.secret, now=now)
    if platform == "retell":
        return SimulatedRetell(SCRIPT, options.secret, now=now)
    return SimulatedSpeechEngine(SCRIPT, options.secret, now=now)


class WebSocketCall:
    """One call. It sends the platform's pings whenever it listens, also while the caller thinks.

    Raises TurnFailed, OSError or ValueError when the call cannot be opened.
    """

    def __init__(self, platform: str, options: CallerOptions) -> None:
        self.options = options
        self.platform = simulated_platform(platform, options)
        self.turns: list[MeasuredTurn] = []
        self.stopped_turn: MeasuredTurn | None = None  # a turn after which no event may come
        self.stopped_at = 0.0  # since this time
        self.socket = self._connect()
        self.next_ping = time.perf_counter() + (self.platform.ping_interval or float("inf"))
        try:
            self.socket.send(self.platform.start(reconnecting=False))
            self.think(GREETING_SECONDS)
        except BaseException:
            self.socket.close()
            raise

    def run_turn(self, scenario: CallScenario, model: str, number: int) -> list[MeasuredTurn]:
        """Run one turn of the scenario, and return the measured turns. Raises TurnFailed or OSError."""
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
        """Say nothing for `seconds`, and listen."""
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
            raise TurnFailed(f"no answer within {SILENCE_TIMEOUT:g} s")

    def _repeat(self, turn: MeasuredTurn) -> None:
        """Send the question again, or, on a platform that never does, lose the connection and come back."""
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
        """Send a question, and soon a revised one.

        On a platform that reports words before they are final, the first is such a report.
        """
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
            raise TurnFailed("the agent answered the superseded question")
        turn.stop = draft.stop
        return turn

    def _interrupt(self, words: str, number: int) -> list[MeasuredTurn]:
        """Speak over the answer, and ask something else; on some platforms only that stops the agent."""
        turn = self._ask(words)
        if not self._listen(lambda: turn.has_answer, SILENCE_TIMEOUT):
            raise TurnFailed(f"no answer within {SILENCE_TIMEOUT:g} s")
        self.think(random.uniform(0.3, 1.0))
        if turn.has_ended:
            raise TurnFailed("the answer ended before the caller could interrupt it")
        frames = self.platform.interrupt(turn.text[: len(turn.text) // 2])
        at = time.perf_counter()
        self.socket.send(frames)
        if not self.platform.traits.stops_playback:  # else it is the next question that stops the agent
            self._mark_stopped(turn, at)
            self.think(LATE_SECONDS)
        short = SCENARIOS["short"]
        next_turn = self._ask(text_with_model(short.model, number))
        if self.platform.traits.stops_playback:
            self._mark_stopped(turn, next_turn.asked_at)
        self._wait_for_end(next_turn)
        short.check(next_turn, short.model)
        return [turn, next_turn]

    def _mark_stopped(self, turn: MeasuredTurn, since: float) -> None:
        """From now on, no event of this turn may come; if one does, `stop` is the time until it."""
        turn.stop, self.stopped_turn, self.stopped_at = 0.0, turn, since

    def _listen(self, is_done: Callable[[], bool], seconds: float) -> bool:
        """Listen until `is_done` or for `seconds`, and send the pings that are due.

        Return whether it was done.
        """
        deadline = time.perf_counter() + seconds
        while not is_done():
            received = self.socket.receive(min(deadline, self.next_ping))
            if received is not None:
                self._on_frame(*received)
            elif time.perf_counter() >= deadline:
                return False
            else:
                self.next_ping += self.platform.ping_interval or 0.0
                self.socket.send(self.platform.ping())
        return True

    def _on_frame(self, now: float, frame: Frame) -> None:
        """Record a frame in the turn to which it belongs."""
        observations = self.platform.receive(frame)
        if any(isinstance(each, PongSeen) for each in observations):
            return
        newest = len(self.turns) - 1
        is_earlier = any(
            isinstance(each, TextHeard | AnswerEnded) and each.turn != newest for each in observations
        )
        if self.stopped_turn is not None and (is_earlier or self.stopped_turn is self.turns[-1]):
            self.stopped_turn.stop = now - self.stopped_at
        elif self.turns:
            self.turns[-1].add_event(now)
        for each in observations:
            self._apply(now, each)

    def _apply(self, now: float, observation: Observation) -> None:
        match observation:
            case TextHeard(turn=number, text=text) if number is not None:
                self.turns[number].add_text(now, text)
            case AnswerEnded(turn=number) if number is not None:
                self.turns[number].finish(now)
            case FramesReturned(frames=frames):
                self.socket.send(frames)
            case Violation(item=item, reason=reason):
                raise TurnFailed(f"{item}: {re.sub(DIGITS, 'N', reason)}")
