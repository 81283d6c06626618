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

from loadtests.callers.scenarios import CALLER, Scenario
from loadtests.callers.sockets import SILENCE, Wire
from loadtests.callers.turn import Failed, Turn
from voicegw.simulate.chat_reader import Reading
from voicegw.simulate.recording import Done, Words, Wrong

DRAFT = "Can you help"
"""What the caller seemed to say, before all of it was understood."""
AGAIN = 0.15
"""Seconds until the platform asks once more, in the same words or in better ones."""


@dataclass(frozen=True, slots=True)
class Line:
    """Where and how a call is made. `path` is what follows the address, `secret` proves who calls."""

    url: str
    path: str
    secret: str
    marker: str
    anywhere: bool


class ChatCall:
    """One call: its id, what was said on it, and a connection that is kept between its turns."""

    def __init__(self, line: Line, id: str) -> None:
        self.line = line
        self.id = id
        self.said: list[dict[str, str]] = []
        self.wires = [self._wire(), self._wire()]

    def _wire(self) -> Wire:
        return Wire(urlsplit(self.line.url), self.line.anywhere)

    def turn(self, scenario: Scenario, model: str, number: int) -> list[Turn]:
        """One turn as the scenario has it, once it is over. Raises Failed or OSError."""
        if scenario.name == "duplicate":
            turn = self._twice(model, number)
        elif scenario.name == "revision":
            turn = self._revised(model, number)
        else:
            turn = self._plain(scenario, model, number)
        scenario.judge(turn, model)
        self.said.append({"role": "assistant", "content": turn.text})
        return [turn]

    def think(self, seconds: float) -> None:
        """The caller says nothing for so long."""
        gevent.sleep(seconds)

    def hang_up(self) -> None:
        for wire in self.wires:
            wire.close()

    def _plain(self, scenario: Scenario, model: str, number: int) -> Turn:
        self._say(f"{CALLER} ({number})")
        turn = self._begin()
        if scenario.name == "hangup":
            self._hang_up(turn, model)
        elif scenario.name == "bargein":
            self._interrupt(turn, model)
        else:
            self._hear(self.wires[0], turn, model)
        return turn

    def _say(self, words: str) -> None:
        self.said.append({"role": "user", "content": words})

    def _begin(self) -> Turn:
        return Turn(time.perf_counter(), self.line.marker)

    def _request(self, model: str) -> bytes:
        body = json.dumps({"model": model, "messages": self.said, "stream": True}).encode()
        url = urlsplit(self.line.url)
        head = (
            f"POST {url.path.rstrip('/')}{self.line.path} HTTP/1.1\r\nhost: {url.netloc}\r\n"
            f"authorization: Bearer {self.line.secret or 'none'}\r\nx-voicegw-call: {self.id}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    def _hear(
        self,
        wire: Wire,
        turn: Turn,
        model: str,
        after: Callable[[float], None] = lambda now: None,
        within: float | None = None,
    ) -> None:
        """Ask, and listen to the end; `after` is told the time of everything that came.

        Raises TimeoutError if the end does not come `within` so many seconds.
        """
        reading, request = Reading(), self._request(model)
        wire.open()
        turn.asked = time.perf_counter()
        for now, data in wire.ask(request, within):
            turn.event(now)
            for heard in reading.feed(data):
                if isinstance(heard, Words):
                    turn.words(now, heard.text)
                elif isinstance(heard, Done):
                    turn.end(now)
                elif isinstance(heard, Wrong):
                    raise Failed(f"{heard.item}: {heard.why}")
            after(now)

    def _interrupt(self, turn: Turn, model: str) -> None:
        """Speak over the answer: nothing more is asked on this connection, and its end is waited for."""
        wire, patience, at = self.wires[0], random.uniform(0.3, 1.0), 0.0

        def speak(now: float) -> None:
            nonlocal at
            if turn.answered and not at and now - turn.asked - turn.answer >= patience:
                at = time.perf_counter()
                wire.leave()

        self._hear(wire, turn, model, speak)
        if not at:
            raise Failed("the answer was over before the caller could interrupt it")
        turn.stop = time.perf_counter() - at
        wire.close()

    def _hang_up(self, turn: Turn, model: str) -> None:
        """Be gone before the first token."""
        try:
            self._hear(self.wires[0], turn, model, within=random.uniform(0.2, 1.0))
        except TimeoutError:
            return
        raise Failed("the answer was over before the caller could hang up")

    @contextmanager
    def _beside(self, turn: Turn, model: str, after: float = 0.0) -> Iterator[None]:
        """Ask on the other connection meanwhile, and wait for the end of that. Raises what it raised."""
        other = gevent.spawn_later(after, self._kept, turn, model)
        try:
            yield
            if (error := other.get(timeout=SILENCE)) is not None:
                raise error
        finally:
            other.kill()

    def _kept(self, turn: Turn, model: str) -> Exception | None:
        """Ask on the other connection; what goes wrong is kept for who waits."""
        try:
            self._hear(self.wires[1], turn, model)
        except (OSError, Failed) as error:
            return error
        return None

    def _twice(self, model: str, number: int) -> Turn:
        """The same request on two connections."""
        self._say(f"{CALLER} ({number})")
        turn, other = self._begin(), self._begin()
        with self._beside(other, model, after=AGAIN):
            self._hear(self.wires[0], turn, model)
        if not other.ended or not other.answered:
            raise Failed("the second of two equal requests got no whole answer")
        if turn.waits != other.waits:
            raise Failed("the agent ran twice")
        return turn

    def _revised(self, model: str, number: int) -> Turn:
        """A request, and soon a better one, by which the first has to end."""
        self._say(f"{DRAFT} ({number})")
        draft = self._begin()
        with self._beside(draft, model):
            gevent.sleep(AGAIN)
            self.said[-1] = {"role": "user", "content": f"{CALLER} ({number})"}
            turn = self._begin()
            self._hear(self.wires[0], turn, model)
        if not draft.ended:
            raise Failed("what was superseded did not come to its end")
        if draft.answered:
            raise Failed("the agent answered what was superseded")
        turn.stop = max(0.0, draft.asked + draft.done - turn.asked)
        return turn
