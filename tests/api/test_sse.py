"""One streamed answer, over plain ASGI and over a wire: the same bytes at the same moments."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.asgi.test_http_protocol import ASK, Line
from tests.support.asgi import chunks, content
from tests.support.chat_lint import lint
from tests.support.script import Script, Step, script
from voicegw.api.chat_response import ChunkEncoder
from voicegw.api.sse import SseResponse
from voicegw.errors import AgentTimeout
from voicegw.events import Activity, Finish, Message, ToolCall, Turn, Usage
from voicegw.turns.acknowledgement import AckSchedule
from voicegw.turns.run import Run
from voicegw.turns.stream import ResponseStream
from voicegw.turns.timings import TurnTimings
from voicegw.wire.openai import KEEPALIVE

START = "http.response.start"


class FakeWire:
    """The way to a client who reads unless `paused`; `open` may be false, as for one who is gone."""

    def __init__(self, *, open: bool = True) -> None:
        self.open = open
        self.paused = False
        self.reader: Any = None
        self.joined = 0
        self.written: list[bytes] = []
        self.writes: list[tuple[float, bytes]] = []

    def join(self, reader: Any) -> None:
        self.reader = reader
        self.joined += reader is not None

    @contextmanager
    def held(self) -> Iterator[None]:
        yield

    def write(self, data: bytes) -> None:
        assert not self.paused, "nothing is written to a client who does not read"
        self.writes.append((asyncio.get_running_loop().time(), data))


class Client:
    """One request for one stream. `sends` is [(time, bytes)] of all that left, on whichever way."""

    def __init__(self, agent: Script, wire: FakeWire | None = None, *, ack: float | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        self.wire = wire
        self.gone = asyncio.Event()
        self.readable = asyncio.Event()
        self.readable.set()
        self.sends: list[tuple[float, bytes]] = [] if wire is None else wire.writes
        self.messages: list[Any] = []
        self.ended: list[float] = []
        self.looks = 0
        turn = Turn("t1", (Message("user", "Hello?"),))
        self.run = Run(agent, turn, lambda run: None, now=self._now)
        words = AckSchedule("" if ack is None else "One moment. ", ack)
        listener = ResponseStream(
            self.run.event_log,
            ChunkEncoder("t1", "desk", 0),
            words,
            TurnTimings(self.loop.time()),
            lambda _: "Sorry.",
        )
        self.stream = SseResponse(self.run, listener, self._end, {"x-request-id": "req_1"})

    def _now(self) -> float:
        self.looks += 1
        assert self.looks < 10_000, "the stream spins"
        return self.loop.time()

    def _end(self, stream: SseResponse) -> None:
        self.ended.append(self.loop.time())
        self.run.subscribers.remove(stream)
        if not self.run.event_log.ended:
            self.run.cancel()

    async def _send(self, message: Any) -> None:
        await self.readable.wait()
        self.messages.append(message)
        if message["type"] != START:
            self.sends.append((self.loop.time(), message["body"]))

    async def _receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def listen(self, **state: Any) -> None:
        extensions = {} if self.wire is None else {"voicegw.wire": self.wire}
        scope = {"type": "http", "extensions": extensions, "state": state}
        await self.stream(scope, self._receive, self._send)

    def pause(self) -> None:
        if self.wire is None:
            self.readable.clear()
        else:
            self.wire.paused = True

    def resume(self) -> None:
        if self.wire is None:
            return self.readable.set()
        self.wire.paused = False
        self.wire.reader.wake()

    @property
    def body(self) -> bytes:
        return b"".join(data for _, data in self.sends)

    @property
    def moments(self) -> dict[float, bytes]:
        """What left at each moment, in however many pieces."""
        found: dict[float, bytes] = defaultdict(bytes)
        for when, data in self.sends:
            found[when] += data
        return dict(found)

    @property
    def spoken(self) -> list[tuple[float, str]]:
        """What was said, and when."""
        said = [(when, "".join(map(content, chunks(data)))) for when, data in self.moments.items()]
        return [(when, text) for when, text in said if text]

    @property
    def text(self) -> str:
        return "".join(map(content, chunks(self.body)))


def both(test: Any) -> Any:
    return pytest.mark.parametrize("wired", [False, True], ids=["asgi", "wire"])(test)


def call(wired: bool, *steps: Step, ack: float | None = None) -> Client:
    return Client(script(*steps), FakeWire() if wired else None, ack=ack)


@pytest.mark.parametrize(
    "steps",
    [
        ("Hi",),
        (0.3, "Hi", " there", 0.2, " you"),
        ("Hi", 0.0, " there", 0.0, " you", 1.0),
        (9.0, "Hi", 9.0),
        (0.7, Activity("search"), 5.0, "Found.", Usage(1, 2)),
        (0.5, ToolCall("c", "weather"), Finish("tool_calls")),
        ("Well", 0.5, AgentTimeout("late")),
        (0.5,),
    ],
)
@pytest.mark.parametrize("ack", [None, 0, 0.5])
async def test_the_same_bytes_leave_at_the_same_moments_with_and_without_a_wire(
    steps: tuple[Step, ...], ack: float | None
) -> None:
    plain, wired = call(False, *steps, ack=ack), call(True, *steps, ack=ack)
    await asyncio.gather(plain.listen(), wired.listen())
    assert wired.moments == plain.moments
    lint(wired.body)
    assert wired.messages[-1]["more_body"] is plain.messages[-1]["more_body"] is False
    assert wired.wire is not None
    assert (wired.wire.joined, wired.wire.reader) == (1, None)


@both
async def test_head_and_first_chunk_leave_before_the_agent_is_asked(wired: bool) -> None:
    client = call(wired, "Hi")
    agent = client.run.agent
    assert isinstance(agent, Script)
    client.readable.clear()
    hearing = asyncio.ensure_future(client.listen())
    await asyncio.sleep(1)
    assert agent.started == []
    client.readable.set()
    await hearing
    assert agent.started == [1.0]
    assert client.messages[0]["headers"] == client.stream.raw_headers


@both
async def test_what_came_together_shares_a_write_and_what_came_alone_leaves_alone(wired: bool) -> None:
    client = call(wired, 0.1, "a", 0.1, "b", "c", 0.1, "d", 0.1)
    await client.listen()
    written = [(when, "".join(map(content, chunks(data)))) for when, data in client.sends]
    assert written == [(0.0, ""), (0.1, "a"), (0.2, "bc"), (0.3, "d"), (0.4, "")]


async def test_the_first_words_do_not_wait_for_those_that_came_with_them() -> None:
    client = call(True, 0.1, "a", "b", "c", 0.1)
    await client.listen()
    written = [(when, "".join(map(content, chunks(data)))) for when, data in client.sends]
    assert written == [(0.0, ""), (0.1, "a"), (0.1, "bc"), (0.2, "")]


@both
async def test_silence_is_kept_alive_every_four_seconds_after_the_last_byte(wired: bool) -> None:
    client = call(wired, 13.0, "Hi", 3.0, " there", 6.0, ack=0.5)
    await client.listen()
    assert [when for when, data in client.sends if data == KEEPALIVE] == [4.5, 8.5, 12.5, 20.0]


@both
async def test_a_line_of_progress_is_in_time_though_the_next_sign_of_life_is_later(wired: bool) -> None:
    client = call(wired, 0.5, Activity("search"), 3.25, "Found.")
    client.stream.listener.ack = AckSchedule("", None, progress=["Looking. ", "Still looking. "], every=1.5)
    await client.listen()
    assert client.spoken == [(2.0, "Looking. "), (3.5, "Still looking. "), (3.75, "Found.")]


@both
async def test_one_timer_serves_many_deltas(wired: bool) -> None:
    client = call(wired, *([0.1, "x"] * 100))
    set_at: list[float] = []

    class Counting:
        def __getattr__(self, name: str) -> Any:
            return getattr(client.loop, name)

        def call_at(self, when: float, callback: Any) -> asyncio.TimerHandle:
            set_at.append(when)
            return client.loop.call_at(when, callback)

    client.stream.loop = Counting()  # type: ignore[assignment]
    await client.listen()
    assert [round(when, 9) for when in set_at] == [4.0, 7.9, 11.8]


@both
async def test_a_client_who_does_not_read_loses_nothing_and_costs_nothing(wired: bool) -> None:
    client = call(wired, 1.0, "a", 1.0, "b", 1.0, "c", 20.0, "d", 1.0, "e", 1.0)
    hearing = asyncio.ensure_future(client.listen())
    await asyncio.sleep(1.5)
    client.pause()
    await asyncio.sleep(23)
    assert client.text == "a"
    client.resume()
    await hearing
    assert client.text == "abcde"
    assert {when for when, _ in client.sends} == {0.0, 1.0, 24.5, 25.0}
    assert client.looks < 60
    lint(client.body)


@both
async def test_a_turn_that_ends_while_the_client_does_not_read_ends_well_later(wired: bool) -> None:
    client = call(wired, 1.0, "a", 1.0, "b")
    hearing = asyncio.ensure_future(client.listen())
    await asyncio.sleep(1.5)
    client.readable.clear()
    if client.wire is not None:
        client.wire.paused = True
    await asyncio.sleep(8.5)
    assert client.text == "a"
    client.readable.set()
    await hearing
    assert (client.text, client.ended) == ("ab", [10.0])
    lint(client.body)


@both
@pytest.mark.parametrize("when", [0.5, 1.5])
async def test_a_client_who_hangs_up_hears_nothing_more_and_stops_the_agent(wired: bool, when: float) -> None:
    client = call(wired, 1.0, "a", 1.0, "b", 60.0)
    hearing = asyncio.ensure_future(client.listen())
    await asyncio.sleep(when)
    if client.wire is None:
        client.gone.set()
    else:
        client.wire.reader.hang_up()
    await hearing
    assert client.text == ("a" if when > 1 else "")
    assert client.ended == [when]
    assert client.run.cancelled_at == when
    assert client.messages[-1]["more_body"] is True
    assert client.wire is None or client.wire.reader is None


async def test_a_wire_that_is_not_open_is_left_alone() -> None:
    client = Client(script(1.0, "Hi", 60.0), FakeWire(open=False))
    hearing = asyncio.ensure_future(client.listen())
    await asyncio.sleep(1.5)
    assert client.wire is not None
    assert (client.wire.joined, client.text) == (0, "Hi")
    client.gone.set()
    await hearing
    assert client.ended == [1.5]


async def test_a_request_that_is_cancelled_lets_go_of_everything() -> None:
    client = call(True, 60.0)
    hearing = asyncio.ensure_future(client.listen())
    await asyncio.sleep(1)
    hearing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await hearing
    assert client.ended == [1.0]
    assert client.wire is not None
    assert client.wire.reader is None


@pytest.mark.parametrize(
    ("state", "ended"),
    [({"send_timeout": 2.0}, 4.0), ({}, 32.0), ({"send_timeout": 0.0}, 40.0)],
)
@pytest.mark.parametrize("last", [True, False])
async def test_a_client_who_takes_nothing_for_too_long_is_as_good_as_gone(
    state: dict[str, float], ended: float, last: bool
) -> None:
    steps: list[Step] = [1.0, "a", 1.0, "b", *([] if last else [60.0])]
    client = call(False, *steps)
    hearing = asyncio.ensure_future(client.listen(**state))
    await asyncio.sleep(1.5)
    client.pause()
    await asyncio.sleep(38.5)
    client.resume()
    client.gone.set()
    await hearing
    assert (client.text, client.ended) == ("ab" if ended == 40.0 else "a", [ended])
    assert client.stream.gone is (ended < 40.0 or not last)


async def test_a_slow_client_who_takes_each_piece_in_time_gets_all() -> None:
    steps: list[Step] = [0.1, "x"]
    client = call(False, *(steps * 20))
    client.pause()

    async def read_slowly() -> None:
        while not client.ended:
            await asyncio.sleep(1.9)
            client.readable.set()
            await asyncio.sleep(0)
            client.readable.clear()

    await asyncio.gather(client.listen(send_timeout=2.0), read_slowly())
    assert client.text == "x" * 20
    assert client.ended[0] > 2.0
    lint(client.body)


@pytest.mark.parametrize("last", [True, False])
async def test_a_connection_that_is_stuck_gives_its_run_back(last: bool) -> None:
    """The real stream on the real protocol; the client stops reading after a second."""
    steps: list[Step] = [1.0, "a", 0.5, "b", *([] if last else [60.0])]
    client = Client(script(*steps))

    async def talk(line: Line) -> None:
        await client.stream(line.scope, line.receive, line.send)

    line = Line(talk, send_timeout=2.0)
    line.protocol.data_received(ASK)
    await asyncio.sleep(1)
    line.socket.waiting = 100_000
    line.protocol.pause_writing()
    await line.say()
    assert (client.ended, line.socket.ended, client.stream.gone) == ([3.0], 3.0, True)
    assert b'"b"' not in line.written
