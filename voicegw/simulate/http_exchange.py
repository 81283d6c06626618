"""The requests of a rehearsed call: everything that goes over them is taped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import replace
from typing import Protocol, TypeAlias

from voicegw.simulate.chat_reader import Reading
from voicegw.simulate.connection import MOST, MOST_TEXT, SHOWN, Over
from voicegw.simulate.http_checks import TAIL, Exchanged, Streamed
from voicegw.simulate.http_platform import Probe, Request
from voicegw.simulate.recording import Acted, Done, Heard, Words, Wrong

LARGEST = 1024 * 1024
"""Bytes that are read of an answer in one piece."""


class Answer(Protocol):
    """The head of an answer, and its body piece by piece. Header names are in lower case."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    def __aiter__(self) -> AsyncIterator[bytes]: ...


Post: TypeAlias = Callable[[Request], AbstractAsyncContextManager[Answer]]
"""Sends a request and waits for the head of its answer; leaving early hangs up. Raises OSError."""


class Asking:
    """Posts requests, reads their answers onto the `tape`, and sets `news` with each piece.

    `offered` are the tools that the requests name. `stream` is the answer that the caller hears.
    """

    def __init__(self, post: Post, tape: Exchanged, offered: Collection[str]) -> None:
        self.post = post
        self.tape = tape
        self.offered = offered
        self.stream: Streamed | None = None
        self.news = asyncio.Event()
        self.loop = asyncio.get_running_loop()
        self.began = self.loop.time()
        self._pieces = self._size = 0

    @property
    def now(self) -> float:
        """Seconds since the rehearsal began."""
        return self.loop.time() - self.began

    async def ask(self, request: Request, label: str, number: int | None = None) -> Streamed:
        """Post, and read the answer to its end. With its turn's `number`, the caller hears it."""
        stream = Streamed(label, self.now)
        self.tape.streams.append(stream)
        if number is not None:
            self.stream = stream
        self.note(">", request.body)
        try:
            async with self.post(request) as answer:
                self._head(answer, stream)
                if answer.status == 200:
                    await self._read(answer, stream, Reading(self.offered, number))
                else:
                    stream.body = (await _beginning(answer, SHOWN)).decode("utf-8", "replace")
                    self.note("<", stream.body)
            stream.whole = True
        except OSError as error:
            stream.whole, stream.failure = True, str(error) or type(error).__name__
            self.note("!", stream.failure)
        finally:
            stream.left = self.now
        return stream

    def _head(self, answer: Answer, stream: Streamed) -> None:
        stream.status, stream.media = answer.status, answer.headers.get("content-type", "")
        self.note("<", f"{stream.status} {stream.media}")
        self.tape.status = stream.status
        if stream.status == 200 and self.tape.opened is None:
            self.tape.opened = self.now

    async def _read(self, answer: Answer, stream: Streamed, reading: Reading) -> None:
        """To the end of the body, or as long after `[DONE]` as a client waits for it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(None) as limit:
                async for data in answer:
                    self._count(data)
                    for heard in reading.feed(data):
                        self._hear(heard, stream)
                    if reading.began and stream.first is None:
                        stream.first = self.now
                    if reading.over and limit.when() is None:
                        limit.reschedule(self.loop.time() + TAIL)
                    self.news.set()
            stream.end = self.now
            for heard in reading.end():
                self._hear(heard, stream)

    def _count(self, data: bytes) -> None:
        self.note("<", data)
        self._pieces += 1
        self._size += len(data)
        if self._pieces > MOST or self._size > MOST_TEXT:
            raise Over(f"the gateway sends more than {MOST} pieces, or than {MOST_TEXT >> 20} MiB")

    def _hear(self, heard: Heard, stream: Streamed) -> None:
        now = self.now
        match heard:
            case Wrong():
                self.tape.wrongs.append(replace(heard, where=stream.label))
            case Done():
                stream.done = now
            case Words(turn=turn, text=text):
                stream.said.append((now, text))
                if turn is not None:
                    self.tape.hear(heard, now)
            case Acted(turn=turn):
                stream.acted.append((now, heard))
                if turn is not None:
                    self.tape.hear(heard, now)

    def note(self, kind: str, data: bytes | str) -> None:
        """Write this into the log."""
        text = data if isinstance(data, str) else data[: 4 * SHOWN].decode("utf-8", "replace")
        self.tape.log.append((self.now, kind, text if len(text) <= SHOWN else f"{text[:SHOWN]}…"))

    async def look(self, probe: Probe, within: float) -> None:
        """Ask beside the call, and look at the answer; `within` is the patience for it, in seconds."""
        self.note("!", f"a request for {probe.item}")
        try:
            async with asyncio.timeout(within):
                async with self.post(probe.request) as answer:
                    status, media = answer.status, answer.headers.get("content-type", "")
                    self.note("<", f"{status} {media}")
                    body = b"" if probe.forged and status == 200 else await _beginning(answer, LARGEST)
            self.note("<", body)
            self.tape.probed[probe.item] = probe.look(status, media, body)
            self.tape.forged = status if probe.forged else self.tape.forged
        except TimeoutError:
            self.tape.probed[probe.item] = f"no answer within {within:g} s"
        except OSError as error:
            self.tape.probed[probe.item] = f"no answer: {error}"


async def _beginning(answer: Answer, most: int) -> bytes:
    """At most so many bytes of a body."""
    body = bytearray()
    async for data in answer:
        body += data
        if len(body) >= most:
            break
    return bytes(body[:most])
