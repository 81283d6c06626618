"""A call by chat completions: each turn is a request, and its answer a stream of events."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import gevent

from loadtests.callers.options import CallerOptions
from loadtests.callers.scenarios import CALLER_TEXT, CallScenario
from loadtests.callers.sockets import SILENCE_TIMEOUT, HttpSocket
from loadtests.callers.turn import MeasuredTurn, TurnFailed
from voicegw.simulate.chat_reader import ChatReader
from voicegw.simulate.recording import AnswerEnded, TextHeard, Violation

DRAFT_TEXT = "Can you help"
"""The caller's words as the platform first understood them."""
REPEAT_DELAY = 0.15
"""Seconds until the platform sends the question again, with the same words or with revised ones."""


class ChatCall:
    """One call: its id, its messages, and two connections that are kept between the turns."""

    def __init__(self, options: CallerOptions, call_id: str) -> None:
        self.options = options
        self.call_id = call_id
        self.messages: list[dict[str, str]] = []
        self.sockets = [self._new_socket(), self._new_socket()]

    def _new_socket(self) -> HttpSocket:
        return HttpSocket(urlsplit(self.options.url), self.options.anywhere)

    def run_turn(self, scenario: CallScenario, model: str, number: int) -> list[MeasuredTurn]:
        """Run one turn of the scenario and return it, ended. Raises TurnFailed or OSError."""
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
        """Say nothing for `seconds`."""
        gevent.sleep(seconds)

    def hang_up(self) -> None:
        for socket in self.sockets:
            socket.close()

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
        """Send the messages, and measure the answer to its end.

        `on_data` is called with the time of each read. Raises TimeoutError if the end does not come within
        `timeout` seconds, TurnFailed or OSError.
        """
        reader, request = ChatReader(), self._encode_request(model)
        socket.open()
        turn.asked_at = time.perf_counter()
        for now, data in socket.request(request, timeout):
            turn.add_event(now)
            for observation in reader.feed(data):
                if isinstance(observation, TextHeard):
                    turn.add_text(now, observation.text)
                elif isinstance(observation, AnswerEnded):
                    turn.finish(now)
                elif isinstance(observation, Violation):
                    raise TurnFailed(f"{observation.item}: {observation.reason}")
            on_data(now)

    def _interrupt(self, turn: MeasuredTurn, model: str) -> None:
        """Speak over the answer: close this side of the connection, and wait for the other to close."""
        socket, delay, interrupted_at = self.sockets[0], random.uniform(0.3, 1.0), 0.0

        def interrupt(now: float) -> None:
            nonlocal interrupted_at
            if turn.has_answer and not interrupted_at and now - turn.asked_at - turn.answer >= delay:
                interrupted_at = time.perf_counter()
                socket.half_close()

        self._ask(socket, turn, model, interrupt)
        if not interrupted_at:
            raise TurnFailed("the answer ended before the caller could interrupt it")
        turn.stop = time.perf_counter() - interrupted_at
        socket.close()

    def _hang_up_early(self, turn: MeasuredTurn, model: str) -> None:
        """Hang up before the first token. Raises TurnFailed if the answer ended before that."""
        try:
            self._ask(self.sockets[0], turn, model, timeout=random.uniform(0.2, 1.0))
        except TimeoutError:
            return
        raise TurnFailed("the answer ended before the caller could hang up")

    @contextmanager
    def _ask_in_parallel(self, turn: MeasuredTurn, model: str, after: float = 0.0) -> Iterator[None]:
        """Send the messages on the second connection while the body runs, and wait for the answer.

        The request starts after `after` seconds. Raises the error of the second request.
        """
        request = gevent.spawn_later(after, self._ask_second_socket, turn, model)
        try:
            yield
            if (error := request.get(timeout=SILENCE_TIMEOUT)) is not None:
                raise error
        finally:
            request.kill()

    def _ask_second_socket(self, turn: MeasuredTurn, model: str) -> Exception | None:
        """Send the messages on the second connection; return the error, since a greenlet would print it."""
        try:
            self._ask(self.sockets[1], turn, model)
        except (OSError, TurnFailed) as error:
            return error
        return None

    def _run_duplicate(self, model: str, number: int) -> MeasuredTurn:
        """Send the same request on two connections."""
        self._add_user(f"{CALLER_TEXT} ({number})")
        turn, repetition = self._new_turn(), self._new_turn()
        with self._ask_in_parallel(repetition, model, after=REPEAT_DELAY):
            self._ask(self.sockets[0], turn, model)
        if not repetition.has_ended or not repetition.has_answer:
            raise TurnFailed("the second of two equal requests got no complete answer")
        if turn.agent_waits != repetition.agent_waits:
            raise TurnFailed("the agent ran twice")
        return turn

    def _run_revision(self, model: str, number: int) -> MeasuredTurn:
        """Send a request, and soon a revised one, which must end the first."""
        self._add_user(f"{DRAFT_TEXT} ({number})")
        draft = self._new_turn()
        with self._ask_in_parallel(draft, model):
            gevent.sleep(REPEAT_DELAY)
            self.messages[-1] = {"role": "user", "content": f"{CALLER_TEXT} ({number})"}
            turn = self._new_turn()
            self._ask(self.sockets[0], turn, model)
        if not draft.has_ended:
            raise TurnFailed("the answer to the superseded request did not end")
        if draft.has_answer:
            raise TurnFailed("the agent answered the superseded request")
        turn.stop = max(0.0, draft.asked_at + draft.done - turn.asked_at)
        return turn
