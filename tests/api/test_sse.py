"""`SseResponse` on plain ASGI and with a chunk writer: the same bytes at the same times."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any

import pytest

from tests.asgi.test_http_protocol import ASK, Connection
from tests.support.asgi import chunk_text, parse_chunks
from tests.support.chat_lint import lint
from tests.support.fake_agent import FakeAgent, Step, fake_agent
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


class FakeChunkWriter:
    """A `ChunkWriter` that records its writes with their times."""

    def __init__(self, *, is_open: bool = True) -> None:
        self.is_open = is_open
        self.is_paused = False
        self.source: Any = None
        self.header_lines: list[bytes] = []
        self.end_count = 0
        self.writes: list[tuple[float, bytes]] = []

    def start(self, source: Any, header_lines: bytes, data: bytes) -> None:
        self.source = source
        self.header_lines.append(header_lines)
        self.write(data)

    def end(self, data: bytes) -> None:
        self.write(data)
        self.end_count += 1
        self.release()

    def release(self) -> None:
        self.source = None

    def write(self, data: bytes) -> None:
        assert not self.is_paused, "a paused client gets no writes"
        self.writes.append((asyncio.get_running_loop().time(), data))


class Client:
    """One request for one stream. `sends` holds (time, bytes) of all that was sent."""

    def __init__(
        self, agent: FakeAgent, writer: FakeChunkWriter | None = None, *, ack: float | None = None
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.writer = writer
        self.disconnected = asyncio.Event()
        self.readable = asyncio.Event()
        self.readable.set()
        self.sends: list[tuple[float, bytes]] = [] if writer is None else writer.writes
        self.messages: list[Any] = []
        self.end_times: list[float] = []
        self.clock_reads = 0
        turn = Turn("t1", (Message("user", "Hello?"),))
        self.run = Run(agent, turn, lambda run: None, now=self._now)
        ack_schedule = AckSchedule("" if ack is None else "One moment. ", ack)
        stream = ResponseStream(
            self.run.event_log,
            ChunkEncoder("t1", "desk", 0),
            ack_schedule,
            TurnTimings(self.loop.time()),
            lambda _: "Sorry.",
        )
        self.stream = SseResponse(self.run, stream, self._end, {"x-request-id": "req_1"})

    def _now(self) -> float:
        self.clock_reads += 1
        assert self.clock_reads < 10_000, "the stream spins"
        return self.loop.time()

    def _end(self, stream: SseResponse) -> None:
        self.end_times.append(self.loop.time())
        self.run.subscribers.remove(stream)
        if not self.run.event_log.has_ended:
            self.run.cancel()

    async def _send(self, message: Any) -> None:
        await self.readable.wait()
        self.messages.append(message)
        if message["type"] != START:
            self.sends.append((self.loop.time(), message["body"]))

    async def _receive(self) -> dict[str, Any]:
        await self.disconnected.wait()
        return {"type": "http.disconnect"}

    async def request(self, **state: Any) -> None:
        extensions = {} if self.writer is None else {"voicegw.chunk_writer": self.writer}
        scope = {"type": "http", "extensions": extensions, "state": state}
        await self.stream(scope, self._receive, self._send)

    def pause(self) -> None:
        if self.writer is None:
            self.readable.clear()
        else:
            self.writer.is_paused = True

    def resume(self) -> None:
        if self.writer is None:
            return self.readable.set()
        self.writer.is_paused = False
        self.writer.source.wake()

    @property
    def body(self) -> bytes:
        return b"".join(data for _, data in self.sends)

    @property
    def bytes_by_time(self) -> dict[float, bytes]:
        """The bytes that were sent at each time, joined."""
        found: dict[float, bytes] = defaultdict(bytes)
        for when, data in self.sends:
            found[when] += data
        return dict(found)

    @property
    def texts(self) -> list[tuple[float, str]]:
        """The times and texts of the deltas."""
        said = [
            (when, "".join(map(chunk_text, parse_chunks(data)))) for when, data in self.bytes_by_time.items()
        ]
        return [(when, text) for when, text in said if text]

    @property
    def text(self) -> str:
        return "".join(map(chunk_text, parse_chunks(self.body)))


def on_both_transports(test: Any) -> Any:
    return pytest.mark.parametrize("has_writer", [False, True], ids=["asgi", "chunk_writer"])(test)


def create_client(has_writer: bool, *steps: Step, ack: float | None = None) -> Client:
    return Client(fake_agent(*steps), FakeChunkWriter() if has_writer else None, ack=ack)


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
async def test_the_same_bytes_leave_at_the_same_times_on_both_transports(
    steps: tuple[Step, ...], ack: float | None
) -> None:
    plain, has_writer = create_client(False, *steps, ack=ack), create_client(True, *steps, ack=ack)
    await asyncio.gather(plain.request(), has_writer.request())
    assert has_writer.bytes_by_time == plain.bytes_by_time
    lint(has_writer.body)
    assert plain.messages[-1]["more_body"] is False
    assert has_writer.writer is not None
    assert (has_writer.messages, has_writer.writer.end_count, has_writer.writer.source) == ([], 1, None)


async def test_both_transports_send_the_same_headers() -> None:
    plain, has_writer = create_client(False, "Hi"), create_client(True, "Hi")
    await asyncio.gather(plain.request(), has_writer.request())
    assert has_writer.writer is not None
    [lines] = has_writer.writer.header_lines
    assert lines == b"".join(b"%b: %b\r\n" % header for header in plain.messages[0]["headers"])
    assert b"x-request-id: req_1\r\n" in lines


async def test_head_and_first_chunk_leave_before_the_agent_is_asked() -> None:
    client = create_client(False, "Hi")
    agent = client.run.agent
    assert isinstance(agent, FakeAgent)
    client.readable.clear()
    request_task = asyncio.ensure_future(client.request())
    await asyncio.sleep(1)
    assert agent.start_times == []
    client.readable.set()
    await request_task
    assert agent.start_times == [1.0]


@on_both_transports
async def test_deltas_that_arrive_together_share_a_write(has_writer: bool) -> None:
    client = create_client(has_writer, 0.1, "a", 0.1, "b", "c", 0.1, "d", 0.1)
    await client.request()
    written = [(when, "".join(map(chunk_text, parse_chunks(data)))) for when, data in client.sends]
    assert written == [(0.0, ""), (0.1, "a"), (0.2, "bc"), (0.3, "d"), (0.4, "")]


async def test_the_first_delta_is_written_before_those_that_arrive_with_it() -> None:
    client = create_client(True, 0.1, "a", "b", "c", 0.1)
    await client.request()
    written = [(when, "".join(map(chunk_text, parse_chunks(data)))) for when, data in client.sends]
    assert written == [(0.0, ""), (0.1, "a"), (0.1, "bc"), (0.2, "")]


@on_both_transports
async def test_a_silent_stream_gets_a_keepalive_every_four_seconds(has_writer: bool) -> None:
    client = create_client(has_writer, 13.0, "Hi", 3.0, " there", 6.0, ack=0.5)
    await client.request()
    assert [when for when, data in client.sends if data == KEEPALIVE] == [4.5, 8.5, 12.5, 20.0]


@on_both_transports
async def test_a_probe_is_a_keepalive_unless_bytes_wait_anyway(has_writer: bool) -> None:
    client = create_client(has_writer, 3.0, "Hi")
    request_task = asyncio.ensure_future(client.request())
    await asyncio.sleep(1)
    client.stream.probe()
    if has_writer:
        client.pause()
        client.stream.probe()
        client.resume()
    await request_task
    assert [when for when, data in client.sends if data == KEEPALIVE] == ([1.0] if has_writer else [])
    assert client.text == "Hi"
    lint(client.body)


@on_both_transports
async def test_a_progress_phrase_is_on_time_though_the_keepalive_is_later(has_writer: bool) -> None:
    client = create_client(has_writer, 0.5, Activity("search"), 3.25, "Found.")
    client.stream.response_stream.ack = AckSchedule(
        "", None, progress=["Looking. ", "Still looking. "], every=1.5
    )
    await client.request()
    assert client.texts == [(2.0, "Looking. "), (3.5, "Still looking. "), (3.75, "Found.")]


@on_both_transports
async def test_one_timer_serves_many_deltas(has_writer: bool) -> None:
    client = create_client(has_writer, *([0.1, "x"] * 100))
    set_at: list[float] = []

    class Counting:
        def __getattr__(self, name: str) -> Any:
            return getattr(client.loop, name)

        def call_at(self, when: float, callback: Any) -> asyncio.TimerHandle:
            set_at.append(when)
            return client.loop.call_at(when, callback)

    client.stream.loop = Counting()  # type: ignore[assignment]
    await client.request()
    assert [round(when, 9) for when in set_at] == [4.0, 7.9, 11.8]


@on_both_transports
async def test_a_paused_client_loses_no_text_and_costs_no_work(has_writer: bool) -> None:
    client = create_client(has_writer, 1.0, "a", 1.0, "b", 1.0, "c", 20.0, "d", 1.0, "e", 1.0)
    request_task = asyncio.ensure_future(client.request())
    await asyncio.sleep(1.5)
    client.pause()
    await asyncio.sleep(23)
    assert client.text == "a"
    client.resume()
    await request_task
    assert client.text == "abcde"
    assert {when for when, _ in client.sends} == {0.0, 1.0, 24.5, 25.0}
    assert client.clock_reads < 60
    lint(client.body)


@on_both_transports
async def test_a_run_that_ends_while_the_client_is_paused_is_delivered_later(has_writer: bool) -> None:
    client = create_client(has_writer, 1.0, "a", 1.0, "b")
    request_task = asyncio.ensure_future(client.request())
    await asyncio.sleep(1.5)
    client.pause()
    await asyncio.sleep(8.5)
    assert client.text == "a"
    client.resume()
    await request_task
    assert (client.text, client.end_times) == ("ab", [10.0])
    lint(client.body)


@on_both_transports
@pytest.mark.parametrize("when", [0.5, 1.5])
async def test_a_client_that_disconnects_stops_the_agent(has_writer: bool, when: float) -> None:
    client = create_client(has_writer, 1.0, "a", 1.0, "b", 60.0)
    request_task = asyncio.ensure_future(client.request())
    await asyncio.sleep(when)
    if client.writer is None:
        client.disconnected.set()
    else:
        client.writer.source.on_disconnect()
    await request_task
    assert client.text == ("a" if when > 1 else "")
    assert client.end_times == [when]
    assert client.run.cancelled_at == when
    if client.writer is None:
        assert client.messages[-1]["more_body"] is True
    else:
        assert (client.writer.end_count, client.writer.source) == (0, None)


async def test_a_chunk_writer_that_is_not_open_is_not_used() -> None:
    client = Client(fake_agent(1.0, "Hi", 60.0), FakeChunkWriter(is_open=False))
    request_task = asyncio.ensure_future(client.request())
    await asyncio.sleep(1.5)
    assert client.writer is not None
    assert (client.writer.header_lines, client.text) == ([], "Hi")
    client.disconnected.set()
    await request_task
    assert client.end_times == [1.5]


async def test_a_cancelled_request_detaches_and_ends() -> None:
    client = create_client(True, 60.0)
    request_task = asyncio.ensure_future(client.request())
    await asyncio.sleep(1)
    request_task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request_task
    assert client.end_times == [1.0]
    assert client.writer is not None
    assert client.writer.source is None


@pytest.mark.parametrize(
    ("state", "ended"),
    [({"send_timeout": 2.0}, 4.0), ({}, 32.0), ({"send_timeout": 0.0}, 40.0)],
)
@pytest.mark.parametrize("last", [True, False])
async def test_a_client_that_reads_nothing_counts_as_disconnected(
    state: dict[str, float], ended: float, last: bool
) -> None:
    steps: list[Step] = [1.0, "a", 1.0, "b", *([] if last else [60.0])]
    client = create_client(False, *steps)
    request_task = asyncio.ensure_future(client.request(**state))
    await asyncio.sleep(1.5)
    client.pause()
    await asyncio.sleep(38.5)
    client.resume()
    client.disconnected.set()
    await request_task
    assert (client.text, client.end_times) == ("ab" if ended == 40.0 else "a", [ended])
    assert client.stream.has_disconnected is (ended < 40.0 or not last)


async def test_a_slow_client_that_reads_in_time_gets_everything() -> None:
    steps: list[Step] = [0.1, "x"]
    client = create_client(False, *(steps * 20))
    client.pause()

    async def read_slowly() -> None:
        while not client.end_times:
            await asyncio.sleep(1.9)
            client.readable.set()
            await asyncio.sleep(0)
            client.readable.clear()

    await asyncio.gather(client.request(send_timeout=2.0), read_slowly())
    assert client.text == "x" * 20
    assert client.end_times[0] > 2.0
    lint(client.body)


@pytest.mark.parametrize("last", [True, False])
async def test_a_stuck_connection_ends_its_response(last: bool) -> None:
    """The real response on the real protocol; the client stops reading after a second."""
    steps: list[Step] = [1.0, "a", 0.5, "b", *([] if last else [60.0])]
    client = Client(fake_agent(*steps))

    async def app(connection: Connection) -> None:
        await client.stream(connection.scope, connection.receive, connection.send)

    connection = Connection(app, send_timeout=2.0)
    connection.protocol.data_received(ASK)
    await asyncio.sleep(1)
    connection.transport.unsent_bytes = 100_000
    connection.protocol.pause_writing()
    await connection.feed()
    assert (client.end_times, connection.transport.closed_at, client.stream.has_disconnected) == (
        [3.0],
        3.0,
        True,
    )
    assert b'"b"' not in connection.written
