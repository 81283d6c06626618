"""The HTTP requests of a simulated call. It records every request and answer.

It decides nothing about the script: that is `voicegw.simulate.http_runner`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import replace
from typing import Protocol, TypeAlias

from voicegw.simulate.chat_reader import ChatReader
from voicegw.simulate.connection import MAX_FRAMES, MAX_LOGGED_CHARS, MAX_TOTAL_SIZE, SimulationStopped
from voicegw.simulate.http_checks import MAX_BODY_TAIL, HttpRecording, RecordedStream
from voicegw.simulate.http_platform import PlatformRequest, Probe
from voicegw.simulate.recording import ActionSeen, AnswerEnded, Observation, TextHeard, Violation

MAX_BODY_SIZE = 1024 * 1024
"""Bytes that are read of an answer without stream; the rest is ignored."""


class PlatformResponse(Protocol):
    """The head of a response, and an iterator over its body. Header names are in lower case.

    The iterator raises OSError if the connection is lost.
    """

    @property
    def status(self) -> int:
        """The HTTP status."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers, by name in lower case."""
        ...

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Iterate over the pieces of the body."""
        ...


PostRequest: TypeAlias = Callable[[PlatformRequest], AbstractAsyncContextManager[PlatformResponse]]
"""Sends a request and waits for the head of its response. An early exit closes the connection.

Raises OSError if the gateway cannot be reached or the connection is lost.
"""


class HttpExchange:
    """Sends requests, records their answers, and sets `activity` with each piece.

    `offered_tools` are the tools in the requests. `audible_stream` is the answer that the caller hears.
    """

    def __init__(self, post: PostRequest, recording: HttpRecording, offered_tools: Collection[str]) -> None:
        self.post = post  # sends one request
        self.recording = recording  # gets every request and answer
        self.offered_tools = offered_tools
        self.audible_stream: RecordedStream | None = None
        self.activity = asyncio.Event()
        self.loop = asyncio.get_running_loop()
        self.started_at = self.loop.time()  # the loop's time at which `now` is 0
        self._piece_count = self._total_size = 0

    @property
    def now(self) -> float:
        """Seconds since the simulation began."""
        return self.loop.time() - self.started_at

    async def send(
        self, request: PlatformRequest, label: str, turn_index: int | None = None
    ) -> RecordedStream:
        """Send a request, and read the answer to its end. With a `turn_index`, the caller hears the answer.

        A lost connection is the stream's `failure`. Raises `SimulationStopped` if the answer is too large.
        """
        stream = RecordedStream(label, self.now)
        self.recording.streams.append(stream)
        if turn_index is not None:
            self.audible_stream = stream
        self.log(">", request.body)
        try:
            async with self.post(request) as response:
                self._record_head(response, stream)
                if response.status == 200:
                    await self._read(response, stream, ChatReader(self.offered_tools, turn_index))
                else:
                    body = await _read_beginning(response, MAX_LOGGED_CHARS)
                    stream.refusal_body = body.decode("utf-8", "replace")
                    self.log("<", stream.refusal_body)
            stream.was_read_to_end = True
        except OSError as error:
            stream.was_read_to_end, stream.failure = True, str(error) or type(error).__name__
            self.log("!", stream.failure)
        finally:
            stream.left_at = self.now
        return stream

    def _record_head(self, response: PlatformResponse, stream: RecordedStream) -> None:
        stream.status, stream.content_type = response.status, response.headers.get("content-type", "")
        self.log("<", f"{stream.status} {stream.content_type}")
        self.recording.status = stream.status
        if stream.status == 200 and self.recording.connected_at is None:
            self.recording.connected_at = self.now

    async def _read(self, response: PlatformResponse, stream: RecordedStream, reader: ChatReader) -> None:
        """Read to the end of the body, or as long after `[DONE]` as a client waits for the end."""
        with suppress(TimeoutError):
            async with asyncio.timeout(None) as timeout:
                async for data in response:
                    self._count(data)
                    for observation in reader.feed(data):
                        self._record(observation, stream)
                    if reader.has_output and stream.first_output_at is None:
                        stream.first_output_at = self.now
                    if reader.is_done and timeout.when() is None:
                        timeout.reschedule(self.loop.time() + MAX_BODY_TAIL)
                    self.activity.set()
            stream.body_ended_at = self.now
            for observation in reader.flush():
                self._record(observation, stream)

    def _count(self, data: bytes) -> None:
        self.log("<", data)
        self._piece_count += 1
        self._total_size += len(data)
        if self._piece_count > MAX_FRAMES or self._total_size > MAX_TOTAL_SIZE:
            raise SimulationStopped(
                f"the gateway sends more than {MAX_FRAMES} pieces, or than {MAX_TOTAL_SIZE >> 20} MiB"
            )

    def _record(self, observation: Observation, stream: RecordedStream) -> None:
        now = self.now
        match observation:
            case Violation():
                self.recording.violations.append(replace(observation, location=stream.label))
            case AnswerEnded():
                stream.done_at = now
            case TextHeard(turn=turn, text=text):
                stream.texts.append((now, text))
                if turn is not None:
                    self.recording.record(observation, now)
            case ActionSeen(turn=turn):
                stream.actions.append((now, observation))
                if turn is not None:
                    self.recording.record(observation, now)

    def log(self, kind: str, data: bytes | str) -> None:
        """Add an entry to the recording's log; `kind` is ">", "<" or "!"."""
        text = data if isinstance(data, str) else data[: 4 * MAX_LOGGED_CHARS].decode("utf-8", "replace")
        shortened = text if len(text) <= MAX_LOGGED_CHARS else f"{text[:MAX_LOGGED_CHARS]}…"
        self.recording.log.append((self.now, kind, shortened))

    async def send_probe(self, probe: Probe, max_wait: float) -> None:
        """Send a request outside of the call, and record the flaw of its answer.

        An answer that takes more than `max_wait` seconds, or a lost connection, is a flaw too.
        """
        self.log("!", f"a request for {probe.item}")
        try:
            async with asyncio.timeout(max_wait):
                async with self.post(probe.request) as response:
                    status, content_type = response.status, response.headers.get("content-type", "")
                    self.log("<", f"{status} {content_type}")
                    # A stream that a wrong key gets is not read: its status is the flaw.
                    skips_body = probe.has_wrong_key and status == 200
                    body = b"" if skips_body else await _read_beginning(response, MAX_BODY_SIZE)
            self.log("<", body)
            self.recording.probe_results[probe.item] = probe.evaluate(status, content_type, body)
            if probe.has_wrong_key:
                self.recording.forged_status = status
        except TimeoutError:
            self.recording.probe_results[probe.item] = f"no answer within {max_wait:g} s"
        except OSError as error:
            self.recording.probe_results[probe.item] = f"no answer: {error}"


async def _read_beginning(response: PlatformResponse, max_size: int) -> bytes:
    """Return the first `max_size` bytes of a body."""
    body = bytearray()
    async for data in response:
        body += data
        if len(body) >= max_size:
            break
    return bytes(body[:max_size])
