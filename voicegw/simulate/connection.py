"""The connection of a simulated call, with its reconnects. It records every frame.

It decides nothing about the script: that is `voicegw.simulate.call_runner`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Protocol, TypeAlias

from voicegw.simulate.platform import Frame, SimulatedPlatform
from voicegw.simulate.recording import FramesReturned, Recording
from voicegw.simulate.script import ScriptTimeouts

MAX_LOGGED_CHARS = 400
"""Characters of a frame that the log keeps."""
MAX_FRAMES, MAX_TOTAL_SIZE = 20_000, 8 * 1024 * 1024
"""Frames of a call, and their characters or bytes in total. No call needs more: the simulation stops."""
ABNORMAL_CLOSURE = 1006
"""The close code without a close frame (RFC 6455, section 7.4.1)."""


class HandshakeRejected(Exception):
    """The gateway answered the handshake with `status`, not 101. `body` is the beginning of its answer."""

    def __init__(self, status: int, body: str = "") -> None:
        refused = f"the handshake was refused with status {status}"
        page = "it answered as a web page (200), not as a websocket"
        super().__init__(page if status == 200 else refused)
        self.status = status
        self.body = body


class SocketClosed(Exception):
    """The socket is closed, with the close code `code`."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(reason or f"the gateway closed the connection with code {code}")
        self.code = code


class SimulationStopped(Exception):
    """The simulation cannot continue. The message says why."""


class PlatformSocket(Protocol):
    """One websocket. All methods but `abort` raise `SocketClosed` once it is closed."""

    async def send(self, frame: Frame) -> None:
        """Send one frame."""
        ...

    async def receive(self) -> Frame:
        """Wait for the next frame."""
        ...

    async def close(self) -> None:
        """Close the socket with a close frame."""
        ...

    def abort(self) -> None:
        """Abort the connection without a close frame."""
        ...


OpenSocket: TypeAlias = Callable[[str, Mapping[str, str]], Awaitable[PlatformSocket]]
"""Opens a socket to a URL, with these headers. Raises `HandshakeRejected` or OSError."""


class CallConnection:
    """Connects a platform to the gateway at `address`, sends and receives frames, and records them all."""

    def __init__(
        self,
        platform: SimulatedPlatform,
        timeouts: ScriptTimeouts,
        address: str,
        open_socket: OpenSocket,
        recording: Recording,
    ) -> None:
        self.platform = platform
        self.timeouts = timeouts  # of the script
        self.address = address
        self.open_socket = open_socket
        self.recording = recording  # gets every frame
        self.activity = asyncio.Event()  # set with each frame, and when the connection is lost
        self.loop = asyncio.get_running_loop()
        self.started_at = self.loop.time()  # the loop's time at which `now` is 0
        self.lost_reason = ""  # why there is no connection; "" while there is one
        self._socket: PlatformSocket | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._frame_count = self._total_size = 0

    @property
    def now(self) -> float:
        """Seconds since the simulation began."""
        return self.loop.time() - self.started_at

    async def try_forged(self) -> None:
        """Connect once with a wrong proof, and record the status.

        Raises `SimulationStopped` if no server answers.
        """
        try:
            socket = await self._open(forged=True)
        except HandshakeRejected as rejection:
            self.recording.forged_status = rejection.status
        else:
            self.recording.forged_status = 101
            await self._close(socket)

    async def connect(self, *, reconnecting: bool, resend: bool = True) -> None:
        """Connect, start the reader and the pings, and send the platform's first frames (`start`).

        Raises `SimulationStopped` if the gateway rejects the handshake or no server answers, and
        `SocketClosed` if the connection ends while the first frames are sent.
        """
        try:
            self._socket = await self._open(forged=False)
        except HandshakeRejected as rejection:
            self.recording.status, self.recording.refusal_body = rejection.status, rejection.body
            raise SimulationStopped(str(rejection)) from None
        self.recording.status, self.recording.current_connection_at = 101, self.now
        if self.recording.connected_at is None:
            self.recording.connected_at = self.now
        self.recording.gateway_close, self.lost_reason = None, ""
        self._tasks = [asyncio.ensure_future(self._read(self._socket))]
        if self.platform.ping_interval is not None:
            self._tasks.append(asyncio.ensure_future(self._keep_pinging(self.platform.ping_interval)))
        await self.send(self.platform.start(reconnecting=reconnecting, resend=resend))

    async def send(self, frames: Sequence[Frame]) -> None:
        """Send these frames.

        Raises `SocketClosed` if the socket is closed, or if the gateway does not take a frame within the
        connect timeout.
        """
        for frame in frames:
            self.log(">", frame)
            if self._socket is not None:
                try:
                    async with asyncio.timeout(self.timeouts.connect):
                        await self._socket.send(frame)
                except TimeoutError:
                    raise SocketClosed(
                        ABNORMAL_CLOSURE, "the gateway no longer reads from the connection"
                    ) from None

    async def ping(self) -> None:
        """Send a ping now, if the platform sends any. Raises `SocketClosed` as `send` does."""
        if frames := self.platform.ping():
            self.recording.pings.append((self.now, None))
            await self.send(frames)

    async def wait_until(self, condition: Callable[[], bool], max_wait: float) -> bool:
        """Wait until the condition holds, `max_wait` seconds at most. Returns whether it holds.

        Raises `SimulationStopped` if the connection is lost.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(max(max_wait, 0.0)):
                while not condition():
                    if self.lost_reason:
                        raise SimulationStopped(self.lost_reason)
                    self.activity.clear()
                    await self.activity.wait()
        return condition()

    async def disconnect(self, *, graceful: bool) -> None:
        """End this connection, with a close frame if `graceful`.

        Raises an exception of the reader, which is a bug of the simulation.
        """
        socket, self._socket = self._socket, None
        for task in self._tasks:
            task.cancel()
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        self._drop_recent_pings()
        if socket is not None and graceful:
            await self._close(socket)
        elif socket is not None:
            socket.abort()
        for result in results:
            if isinstance(result, Exception):
                raise result

    def log(self, kind: str, frame: Frame) -> None:
        """Add an entry to the recording's log; `kind` is ">", "<" or "!"."""
        text = frame if isinstance(frame, str) else repr(frame)
        shortened = text if len(text) <= MAX_LOGGED_CHARS else f"{text[:MAX_LOGGED_CHARS]}…"
        self.recording.log.append((self.now, kind, shortened))

    async def _open(self, *, forged: bool) -> PlatformSocket:
        timeout = self.timeouts.connect
        try:
            async with asyncio.timeout(timeout):
                headers = self.platform.build_headers(self.address, forged=forged)
                return await self.open_socket(self.address, headers)
        except TimeoutError:
            raise SimulationStopped(f"no connection within {timeout:g} s") from None
        except OSError as error:
            raise SimulationStopped(f"no connection: {error}") from None

    async def _close(self, socket: PlatformSocket) -> None:
        with suppress(SocketClosed, TimeoutError):
            async with asyncio.timeout(self.timeouts.connect):
                await socket.close()

    async def _read(self, socket: PlatformSocket) -> None:
        try:
            while True:
                await self._process_frame(await socket.receive())
        except SocketClosed as closed:
            self.recording.gateway_close = (self.now, closed.code)
            self._mark_lost(str(closed))
        except SimulationStopped as stopped:
            self._mark_lost(str(stopped))
        except Exception:
            self._mark_lost("voicegw simulate itself has a bug; please report it with the traceback")
            raise

    async def _process_frame(self, frame: Frame) -> None:
        self.log("<", frame)
        self._frame_count += 1
        self._total_size += len(frame)
        if self._frame_count > MAX_FRAMES or self._total_size > MAX_TOTAL_SIZE:
            raise SimulationStopped(
                f"the gateway sends more than {MAX_FRAMES} frames, or than {MAX_TOTAL_SIZE >> 20} MiB"
            )
        for observation in self.platform.receive(frame):
            self.recording.record(observation, self.now)
            if isinstance(observation, FramesReturned):
                await self.send(observation.frames)
        self.activity.set()

    def _mark_lost(self, reason: str) -> None:
        self.log("!", reason)
        self.lost_reason = reason
        self.activity.set()

    async def _keep_pinging(self, interval: float) -> None:
        with suppress(SocketClosed):
            while True:
                await asyncio.sleep(interval)
                await self.ping()

    def _drop_recent_pings(self) -> None:
        """Drop the unanswered pings that the gateway had no time to answer before the connection ended."""
        deadline = self.now - self.timeouts.pong
        self.recording.pings = [
            ping for ping in self.recording.pings if ping[1] is not None or ping[0] < deadline
        ]
