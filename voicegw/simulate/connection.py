"""The connection of a rehearsed call, through all its losses: everything that goes over it is taped."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Protocol, TypeAlias

from voicegw.simulate.platform import Caller, Frame
from voicegw.simulate.recording import Returned, Tape
from voicegw.simulate.script import Patience

SHOWN = 400
"""Characters of a frame that are kept for the log."""
MOST, MOST_TEXT = 20_000, 8 * 1024 * 1024
"""Frames of a call, and what they hold together; more are no call's."""
ABNORMAL = 1006


class Refused(Exception):
    """The handshake was answered with another status than 101, and with this body."""

    def __init__(self, status: int, body: str = "") -> None:
        refused = f"the handshake was refused with status {status}"
        page = "it answered as a web page (200), not as a websocket"
        super().__init__(page if status == 200 else refused)
        self.status = status
        self.body = body


class Gone(Exception):
    """The socket is closed, with this code."""

    def __init__(self, code: int, why: str = "") -> None:
        super().__init__(why or f"the gateway closed the connection with code {code}")
        self.code = code


class Over(Exception):
    """The rehearsal cannot go on."""


class Socket(Protocol):
    """One websocket. Everything but `abort` raises `Gone` once it is closed."""

    async def send(self, frame: Frame) -> None: ...
    async def receive(self) -> Frame: ...
    async def close(self) -> None: ...
    def abort(self) -> None:
        """Lose the connection, without a farewell."""
        ...


Dial: TypeAlias = Callable[[str, Mapping[str, str]], Awaitable[Socket]]
"""Opens a socket to an address, with these headers. Raises `Refused` or OSError."""


class Link:
    """Connects a caller to the gateway at `address`, sends its frames, and tapes what comes."""

    def __init__(self, caller: Caller, patience: Patience, address: str, dial: Dial, tape: Tape) -> None:
        self.caller = caller
        self.patience = patience
        self.address = address
        self.dial = dial
        self.tape = tape
        self.news = asyncio.Event()
        self.loop = asyncio.get_running_loop()
        self.began = self.loop.time()
        self.lost = ""  # why there is no connection any more
        self._socket: Socket | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._frames = self._text = 0

    @property
    def now(self) -> float:
        """Seconds since the rehearsal began."""
        return self.loop.time() - self.began

    async def try_forged(self) -> None:
        """Dial with a false proof. Raises `Over` if nobody is there."""
        try:
            socket = await self._open(forged=True)
        except Refused as refusal:
            self.tape.forged = refusal.status
        else:
            self.tape.forged = 101
            await self._close(socket)

    async def connect(self, *, again: bool) -> None:
        """Dial, and send what the platform sends first. Raises `Over` if that did not work."""
        try:
            self._socket = await self._open(forged=False)
        except Refused as refusal:
            self.tape.status, self.tape.body = refusal.status, refusal.body
            raise Over(str(refusal)) from None
        self.tape.status, self.tape.since = 101, self.now
        self.tape.opened = self.now if self.tape.opened is None else self.tape.opened
        self.tape.closed, self.lost = None, ""
        self._tasks = [asyncio.ensure_future(self._read(self._socket))]
        if self.caller.every is not None:
            self._tasks.append(asyncio.ensure_future(self._keep_pinging(self.caller.every)))
        await self.send(self.caller.open(again=again))

    async def send(self, frames: Sequence[Frame]) -> None:
        """Send these frames. Raises `Gone`, also if the gateway does not take them in time."""
        for frame in frames:
            self.note(">", frame)
            if self._socket is not None:
                try:
                    async with asyncio.timeout(self.patience.connect):
                        await self._socket.send(frame)
                except TimeoutError:
                    raise Gone(ABNORMAL, "the gateway reads nothing any more") from None

    async def ping(self) -> None:
        """Ping now, where the platform does."""
        if frames := self.caller.ping():
            self.tape.pings.append((self.now, None))
            await self.send(frames)

    async def until(self, found: Callable[[], bool], within: float) -> bool:
        """Listen until something is found, at most so many seconds. Raises `Over` without a connection."""
        with suppress(TimeoutError):
            async with asyncio.timeout(max(within, 0.0)):
                while not found():
                    if self.lost:
                        raise Over(self.lost)
                    self.news.clear()
                    await self.news.wait()
        return found()

    async def hang_up(self, *, farewell: bool) -> None:
        """Leave this connection, or lose it without `farewell`. Raises what went wrong while reading."""
        socket, self._socket = self._socket, None
        for task in self._tasks:
            task.cancel()
        ended = await asyncio.gather(*self._tasks, return_exceptions=True)
        self._forget_pings()
        if socket is not None and farewell:
            await self._close(socket)
        elif socket is not None:
            socket.abort()
        for mistake in ended:
            if isinstance(mistake, Exception):
                raise mistake

    def note(self, kind: str, frame: Frame) -> None:
        """Write this into the log."""
        text = frame if isinstance(frame, str) else repr(frame)
        self.tape.log.append((self.now, kind, text if len(text) <= SHOWN else f"{text[:SHOWN]}…"))

    async def _open(self, *, forged: bool) -> Socket:
        within = self.patience.connect
        try:
            async with asyncio.timeout(within):
                return await self.dial(self.address, self.caller.headers(self.address, forged=forged))
        except TimeoutError:
            raise Over(f"no connection within {within:g} s") from None
        except OSError as error:
            raise Over(f"no connection: {error}") from None

    async def _close(self, socket: Socket) -> None:
        with suppress(Gone, TimeoutError):
            async with asyncio.timeout(self.patience.connect):
                await socket.close()

    async def _read(self, socket: Socket) -> None:
        try:
            while True:
                await self._take(await socket.receive())
        except Gone as gone:
            self.tape.closed = (self.now, gone.code)
            self._lose(str(gone))
        except Over as over:
            self._lose(str(over))
        except Exception:
            self._lose("the rehearsal itself made a mistake")
            raise

    async def _take(self, frame: Frame) -> None:
        self.note("<", frame)
        self._frames += 1
        self._text += len(frame)
        if self._frames > MOST or self._text > MOST_TEXT:
            raise Over(f"the gateway sends more than {MOST} frames, or than {MOST_TEXT >> 20} MiB")
        for heard in self.caller.hear(frame):
            self.tape.hear(heard, self.now)
            if isinstance(heard, Returned):
                await self.send(heard.frames)
        self.news.set()

    def _lose(self, why: str) -> None:
        self.note("!", why)
        self.lost = why
        self.news.set()

    async def _keep_pinging(self, every: float) -> None:
        with suppress(Gone):
            while True:
                await asyncio.sleep(every)
                await self.ping()

    def _forget_pings(self) -> None:
        """A ping that the gateway had no time to answer was none."""
        last = self.now - self.patience.pong
        self.tape.pings = [ping for ping in self.tape.pings if ping[1] is not None or ping[0] < last]
