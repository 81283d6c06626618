"""A platform and a gateway as plain as can be, for tests of what plays and tapes a call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from voicegw.simulate.call_runner import CallRunner
from voicegw.simulate.checks import COMMON, Check
from voicegw.simulate.connection import OpenSocket, SocketClosed, HandshakeRejected, PlatformSocket
from voicegw.simulate.platform import Frame, PlatformTraits
from voicegw.simulate.recording import ActionSeen, AnswerEnded, Observation, HangUpSeen, PongSeen, FramesReturned, Recording, TextHeard, Violation
from voicegw.simulate.script import CallScript


class Plain:
    """Sends what happens in words, and reads `KIND TEXT`; whatever comes belongs to the newest question."""

    name = "plain"
    checks: Sequence[Check] = COMMON
    traits = PlatformTraits(frozenset({"silent"}))

    def __init__(self, every: float | None = None) -> None:
        self.ping_interval = every
        self.turn: int | None = None
        self.asked: Sequence[Frame] = ()

    def build_url(self, url: str) -> str:
        return url + "/call"

    def build_headers(self, url: str, *, forged: bool = False) -> Mapping[str, str]:
        return {"proof": "wrong" if forged else f"right for {url}"}

    def start(self, *, reconnecting: bool) -> Sequence[Frame]:
        return ("hello again", *self.asked) if reconnecting else ("hello",)

    def encode_partial(self, text: str) -> Sequence[Frame]:
        return (f"perhaps {text}",)

    def ask(self, text: str | None) -> Sequence[Frame]:
        return () if text is None else self._question(f"ask {text}")

    def press(self, digits: str) -> Sequence[Frame]:
        return self._question(f"press {digits}")

    def _question(self, frame: str) -> Sequence[Frame]:
        self.turn = 0 if self.turn is None else self.turn + 1
        self.asked = (frame,)
        return self.asked

    def repeat(self) -> Sequence[Frame]:
        return self.asked

    def interrupt(self, heard_text: str) -> Sequence[Frame]:
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


class Wire:
    """One socket to a gateway that is a coroutine: it takes frames from `inbox`, and says or closes."""

    def __init__(self, gateway: Callable[[Wire], Awaitable[None]]) -> None:
        self.inbox: asyncio.Queue[Frame] = asyncio.Queue()
        self.outbox: asyncio.Queue[Frame | int] = asyncio.Queue()
        self.closed: int | None = None
        self.left = ""
        self.side = asyncio.ensure_future(gateway(self))

    def say(self, *frames: Frame) -> None:
        for frame in frames:
            self.outbox.put_nowait(frame)

    def hang_up(self, code: int) -> None:
        self.closed = code
        self.outbox.put_nowait(code)

    async def send(self, frame: Frame) -> None:
        if self.closed is not None:
            raise SocketClosed(self.closed)
        self.inbox.put_nowait(frame)

    async def receive(self) -> Frame:
        frame = await self.outbox.get()
        if isinstance(frame, int):
            raise SocketClosed(frame)
        return frame

    async def close(self) -> None:
        self.left = "closed"
        self.side.cancel()

    def abort(self) -> None:
        self.left = "aborted"
        self.side.cancel()


class Switch:
    """Dials one gateway after the other; an OSError, or a status, is what comes of it instead."""

    def __init__(self, *gateways: Callable[[Wire], Awaitable[None]] | int | OSError) -> None:
        self.gateways = iter(gateways)
        self.dialled: list[tuple[str, Mapping[str, str]]] = []
        self.wires: list[Wire] = []

    async def __call__(self, address: str, headers: Mapping[str, str]) -> PlatformSocket:
        self.dialled.append((address, headers))
        gateway = next(self.gateways)
        if isinstance(gateway, int):
            raise HandshakeRejected(gateway)
        if isinstance(gateway, OSError):
            raise gateway
        self.wires.append(Wire(gateway))
        return self.wires[-1]


Steps = Sequence[str | float]


def answers(*steps: Steps) -> Callable[[Wire], Awaitable[None]]:
    """Answers the n-th question by the n-th steps, whatever else comes: frames, and pauses in seconds."""
    left = [*steps]

    async def gateway(wire: Wire) -> None:
        going: asyncio.Task[None] | None = None
        try:
            while True:
                frame = await wire.inbox.get()
                if frame == "ping":
                    wire.say("pong")
                elif isinstance(frame, str) and frame.startswith(("ask", "press", "stop")):
                    if going is not None:
                        going.cancel()
                    if not frame.startswith("stop"):
                        going = asyncio.ensure_future(_say(wire, left.pop(0)))
        finally:
            if going is not None:
                going.cancel()

    return gateway


async def _say(wire: Wire, steps: Steps) -> None:
    for step in steps:
        if isinstance(step, str):
            wire.say(step)
        else:
            await asyncio.sleep(step)


async def silent(wire: Wire) -> None:
    """A gateway that takes everything and says nothing."""


def script(*turns: Mapping[str, Any], **tables: Any) -> CallScript:
    return CallScript.model_validate({"turns": turns or [{"say": "Hello?"}], **tables})


async def play(
    told: CallScript, dial: OpenSocket, *, every: float | None = None, proof: bool = False, caller: Plain | None = None
) -> Recording:
    return await CallRunner(caller or Plain(every), told, "ws://gateway", dial, try_forged=proof).run()


def sent(tape: Recording) -> list[tuple[float, str]]:
    return [(round(at, 9), text) for at, kind, text in tape.log if kind == ">"]
