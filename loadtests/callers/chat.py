"""A call by chat completions: each turn is a request, and its answer a stream of events."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import gevent

from loadtests.callers.scenarios import CALLER_TEXT, CallScenario
from loadtests.callers.sockets import SILENCE_TIMEOUT, HttpSocket
from loadtests.callers.turn import TurnFailed, MeasuredTurn
from voicegw.simulate.chat_reader import ChatReader
from voicegw.simulate.recording import AnswerEnded, TextHeard, Violation

DRAFT_TEXT = "Can you help"
"""What the caller seemed to say, before all of it was understood."""
REPEAT_DELAY = 0.15
"""Seconds until the platform asks once more, in the same words or in better ones."""


@dataclass(frozen=True, slots=True)
class CallerOptions:
    """Where and how a call is made. `path` is what follows the address, `secret` proves who calls."""

    url: str
    path: str
    secret: str
    marker: str
    anywhere: bool


class ChatCall:
    """One call: its id, what was said on it, and a connection that is kept between its turns."""

    def __init__(self, options: CallerOptions, call_id: str) -> None:
        self.options = options
        self.call_id = call_id
        self.messages: list[dict[str, str]] = []
        self.sockets = [self._new_socket(), self._new_socket()]

    def _new_socket(self) -> HttpSocket:
        return HttpSocket(urlsplit(self.options.url), self.options.anywhere)

    def run_turn(self, scenario: CallScenario, model: str, number: int) -> list[MeasuredTurn]:
        """One turn as the scenario has it, once it is over. Raises Failed or OSError."""
        if scenario.name == "duplicate":
            turn = self._run_duplicate(model, number)
        elif scenario.name == "revision":
            turn = self._run_revision(model, number)
        else:
            turn = self._run_plain(scenario, model, number)
        scenario.check(turn, model)
        self.messages.append({"role": "assistant", "content": turn.text})
        return [turn]

    def think(self, seconds: float) -> None:
        """The caller says nothing for so long."""
        gevent.sleep(seconds)

    def hang_up(self) -> None:
        for wire in self.sockets:
            wire.close()

    def _run_plain(self, scenario: CallScenario, model: str, number: int) -> MeasuredTurn:
        self._add_user(f"{CALLER_TEXT} ({number})")
        turn = self._new_turn()
        if scenario.name == "hangup":
            self._hang_up_early(turn, model)
        elif scenario.name == "bargein":
            self._interrupt(turn, model)
        else:
            self._ask(self.sockets[0], turn, model)
        return turn

    def _add_user(self, words: str) -> None:
        self.messages.append({"role": "user", "content": words})

    def _new_turn(self) -> MeasuredTurn:
        return MeasuredTurn(time.perf_counter(), self.options.marker)

    def _encode_request(self, model: str) -> bytes:
        body = json.dumps({"model": model, "messages": self.messages, "stream": True}).encode()
        url = urlsplit(self.options.url)
        head = (
            f"POST {url.path.rstrip('/')}{self.options.path} HTTP/1.1\r\nhost: {url.netloc}\r\n"
            f"authorization: Bearer {self.options.secret or 'none'}\r\nx-voicegw-call: {self.call_id}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    def _ask(
        self,
        socket: HttpSocket,
        turn: MeasuredTurn,
        model: str,
        on_data: Callable[[float], None] = lambda now: None,
        timeout: float | None = None,
    ) -> None:
        """Ask, and listen to the end; `after` is told the time of everything that came.

        Raises TimeoutError if the end does not come `within` so many seconds.
        """
        reading, request = ChatReader(), self._encode_request(model)
        socket.open()
        turn.asked_at = time.perf_counter()
        for now, data in socket.request(request, timeout):
            turn.add_event(now)
            for heard in reading.feed(data):
                if isinstance(heard, TextHeard):
                    turn.add_text(now, heard.text)
                elif isinstance(heard, AnswerEnded):
                    turn.finish(now)
                elif isinstance(heard, Violation):
                    raise TurnFailed(f"{heard.item}: {heard.reason}")
            on_data(now)

    def _interrupt(self, turn: MeasuredTurn, model: str) -> None:
        """Speak over the answer: nothing more is asked on this connection, and its end is waited for."""
        wire, patience, at = self.sockets[0], random.uniform(0.3, 1.0), 0.0

        def speak(now: float) -> None:
            nonlocal at
            if turn.has_answer and not at and now - turn.asked_at - turn.answer >= patience:
                at = time.perf_counter()
                wire.half_close()

        self._ask(wire, turn, model, speak)
        if not at:
            raise TurnFailed("the answer was over before the caller could interrupt it")
        turn.stop = time.perf_counter() - at
        wire.close()

    def _hang_up_early(self, turn: MeasuredTurn, model: str) -> None:
        """Be gone before the first token."""
        try:
            self._ask(self.sockets[0], turn, model, timeout=random.uniform(0.2, 1.0))
        except TimeoutError:
            return
        raise TurnFailed("the answer was over before the caller could hang up")

    @contextmanager
    def _ask_in_parallel(self, turn: MeasuredTurn, model: str, after: float = 0.0) -> Iterator[None]:
        """Ask on the other connection meanwhile, and wait for the end of that. Raises what it raised."""
        other = gevent.spawn_later(after, self._ask_second_socket, turn, model)
        try:
            yield
            if (error := other.get(timeout=SILENCE_TIMEOUT)) is not None:
                raise error
        finally:
            other.kill()

    def _ask_second_socket(self, turn: MeasuredTurn, model: str) -> Exception | None:
        """Ask on the other connection; what goes wrong is kept for who waits."""
        try:
            self._ask(self.sockets[1], turn, model)
        except (OSError, TurnFailed) as error:
            return error
        return None

    def _run_duplicate(self, model: str, number: int) -> MeasuredTurn:
        """The same request on two connections."""
        self._add_user(f"{CALLER_TEXT} ({number})")
        turn, other = self._new_turn(), self._new_turn()
        with self._ask_in_parallel(other, model, after=REPEAT_DELAY):
            self._ask(self.sockets[0], turn, model)
        if not other.has_ended or not other.has_answer:
            raise TurnFailed("the second of two equal requests got no whole answer")
        if turn.agent_waits != other.agent_waits:
            raise TurnFailed("the agent ran twice")
        return turn

    def _run_revision(self, model: str, number: int) -> MeasuredTurn:
        """A request, and soon a better one, by which the first has to end."""
        self._add_user(f"{DRAFT_TEXT} ({number})")
        draft = self._new_turn()
        with self._ask_in_parallel(draft, model):
            gevent.sleep(REPEAT_DELAY)
            self.messages[-1] = {"role": "user", "content": f"{CALLER_TEXT} ({number})"}
            turn = self._new_turn()
            self._ask(self.sockets[0], turn, model)
        if not draft.has_ended:
            raise TurnFailed("what was superseded did not come to its end")
        if draft.has_answer:
            raise TurnFailed("the agent answered what was superseded")
        turn.stop = max(0.0, draft.asked_at + draft.done - turn.asked_at)
        return turn
