"""A minimal platform and a minimal gateway, for tests of the runner and its connection."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from voicegw.simulate.call_runner import CallRunner
from voicegw.simulate.checks import COMMON, Check
from voicegw.simulate.connection import HandshakeRejected, OpenSocket, PlatformSocket, SocketClosed
from voicegw.simulate.platform import Frame, PlatformTraits
from voicegw.simulate.recording import (
    ActionSeen,
    AnswerEnded,
    FramesReturned,
    HangUpSeen,
    Observation,
    PongSeen,
    Recording,
    TextHeard,
    Violation,
)
from voicegw.simulate.script import CallScript


class PlainPlatform:
    """Sends plain words and reads `KIND TEXT`; every frame belongs to the newest question."""

    name = "plain"
    checks: Sequence[Check] = COMMON
    traits = PlatformTraits(frozenset({"silent"}))
    may_reply_twice = False

    def __init__(self, every: float | None = None) -> None:
        self.ping_interval = every
        self.turn: int | None = None
        self.question_frames: Sequence[Frame] = ()

    def build_url(self, url: str) -> str:
        return url + "/call"

    def build_headers(self, url: str, *, forged: bool = False) -> Mapping[str, str]:
        return {"proof": "wrong" if forged else f"right for {url}"}

    def start(self, *, reconnecting: bool, resend: bool = True) -> Sequence[Frame]:
        return ("hello again", *self.question_frames) if reconnecting else ("hello",)

    def encode_partial(self, text: str) -> Sequence[Frame]:
        return (f"perhaps {text}",)

    def ask(self, text: str | None) -> Sequence[Frame]:
        return () if text is None else self._question(f"ask {text}")

    def press(self, digits: str) -> Sequence[Frame]:
        return self._question(f"press {digits}")

    def _question(self, frame: str) -> Sequence[Frame]:
        self.turn = 0 if self.turn is None else self.turn + 1
        self.question_frames = (frame,)
        return self.question_frames

    def repeat(self) -> Sequence[Frame]:
        return self.question_frames

    def interrupt(self, heard_text: str, *, older: bool = False) -> Sequence[Frame]:
        return (f"stop at {heard_text!r}",)

    def encode_malformed(self) -> Sequence[Frame]:
        return (b"\xff",)

    def ping(self) -> Sequence[Frame]:
        return () if self.ping_interval is None else ("ping",)

    def hang_up(self) -> Sequence[Frame]:
        return ("bye",)

    def receive(self, frame: Frame) -> Sequence[Observation]:
        kind, _, rest = str(frame).partition(" ")
        found: dict[str, Observation] = {
            "say": TextHeard(self.turn, rest),
            "done": AnswerEnded(self.turn),
            "act": ActionSeen(self.turn, rest),
            "end": HangUpSeen(),
            "pong": PongSeen(rest != "wrong"),
            "return": FramesReturned((rest,)),
        }
        if kind == "break":
            raise ZeroDivisionError(rest)
        return (found.get(kind, Violation("frames", rest)),)


class GatewaySocket:
    """One socket to a gateway that is a coroutine: it reads `inbox`, and calls `deliver`."""

    def __init__(self, gateway: Callable[[GatewaySocket], Awaitable[None]]) -> None:
        self.inbox: asyncio.Queue[Frame] = asyncio.Queue()
        self.outbox: asyncio.Queue[Frame | int] = asyncio.Queue()
        self.close_code: int | None = None
        self.ended_by = ""
        self.task = asyncio.ensure_future(gateway(self))

    def deliver(self, *frames: Frame) -> None:
        for frame in frames:
            self.outbox.put_nowait(frame)

    def deliver_close(self, code: int) -> None:
        self.close_code = code
        self.outbox.put_nowait(code)

    async def send(self, frame: Frame) -> None:
        if self.close_code is not None:
            raise SocketClosed(self.close_code)
        self.inbox.put_nowait(frame)

    async def receive(self) -> Frame:
        frame = await self.outbox.get()
        if isinstance(frame, int):
            raise SocketClosed(frame)
        return frame

    async def close(self) -> None:
        self.ended_by = "closed"
        self.task.cancel()

    def abort(self) -> None:
        self.ended_by = "aborted"
        self.task.cancel()


class SocketOpener:
    """Opens a socket to one gateway after the other. A status rejects the handshake; an OSError is raised."""

    def __init__(self, *gateways: Callable[[GatewaySocket], Awaitable[None]] | int | OSError) -> None:
        self.gateways = iter(gateways)
        self.opened: list[tuple[str, Mapping[str, str]]] = []
        self.sockets: list[GatewaySocket] = []

    async def __call__(self, address: str, headers: Mapping[str, str]) -> PlatformSocket:
        self.opened.append((address, headers))
        gateway = next(self.gateways)
        if isinstance(gateway, int):
            raise HandshakeRejected(gateway)
        if isinstance(gateway, OSError):
            raise gateway
        self.sockets.append(GatewaySocket(gateway))
        return self.sockets[-1]


Steps = Sequence[str | float]


def answering(*steps: Steps) -> Callable[[GatewaySocket], Awaitable[None]]:
    """Return a gateway that answers the n-th question by the n-th steps: frames, and pauses in seconds."""
    remaining = [*steps]

    async def gateway(socket: GatewaySocket) -> None:
        answer: asyncio.Task[None] | None = None
        try:
            while True:
                frame = await socket.inbox.get()
                if frame == "ping":
                    socket.deliver("pong")
                elif isinstance(frame, str) and frame.startswith(("ask", "press", "stop")):
                    if answer is not None:
                        answer.cancel()
                    if not frame.startswith("stop"):
                        answer = asyncio.ensure_future(_deliver_steps(socket, remaining.pop(0)))
        finally:
            if answer is not None:
                answer.cancel()

    return gateway


async def _deliver_steps(socket: GatewaySocket, steps: Steps) -> None:
    for step in steps:
        if isinstance(step, str):
            socket.deliver(step)
        else:
            await asyncio.sleep(step)


async def silent_gateway(socket: GatewaySocket) -> None:
    """Be a gateway that sends no frames."""


def make_script(*turns: Mapping[str, Any], **tables: Any) -> CallScript:
    return CallScript.model_validate({"turns": turns or [{"say": "Hello?"}], **tables})


async def run_call(
    script: CallScript,
    open_socket: OpenSocket,
    *,
    ping_interval: float | None = None,
    try_forged: bool = False,
    platform: PlainPlatform | None = None,
) -> Recording:
    return await CallRunner(
        platform or PlainPlatform(ping_interval), script, "ws://gateway", open_socket, try_forged=try_forged
    ).run()


def sent_frames(recording: Recording) -> list[tuple[float, str]]:
    return [(round(at, 9), text) for at, kind, text in recording.log if kind == ">"]
