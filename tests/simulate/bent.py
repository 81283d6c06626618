"""Gateways that are broken on purpose: something bends what comes to them, or what leaves them."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from starlette.types import ASGIApp, Receive, Scope, Send

from tests.simulate.stage import Flaw, sound, stage
from tests.support.gateway import floor
from tests.support.script import Script as Agent
from voicegw.simulate.call_runner import CallRunner
from voicegw.simulate.checks import Check, evaluate_checks
from voicegw.simulate.platform import SimulatedPlatform
from voicegw.simulate.recording import Recording
from voicegw.simulate.script import CallScript

Frame: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Out:
    """A frame that leaves at once, without the gateway; or, as a number, the code to close with."""

    frame: Frame | int


Bend: TypeAlias = Callable[[Frame], Iterable[Frame | Out]]
"""What comes to the gateway instead of a JSON object of the platform's."""


def bent(app: ASGIApp, bend: Bend) -> ASGIApp:
    """The application, and `bend` before it. What is no JSON object is passed on as it is."""

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        waiting: deque[Frame] = deque()

        async def bent_receive() -> Any:
            while not waiting:
                message = await receive()
                frame = _object(message.get("text"))
                if frame is None:
                    return message
                for way in bend(frame):
                    if isinstance(way, Out):
                        await send(_leaving(way))
                    else:
                        waiting.append(way)
            return {"type": "websocket.receive", "text": json.dumps(waiting.popleft())}

        await app(scope, bent_receive, send)

    return served


def _leaving(out: Out) -> Frame:
    if isinstance(out.frame, int):
        return {"type": "websocket.close", "code": out.frame}
    return {"type": "websocket.send", "text": json.dumps(out.frame)}


def _object(text: str | None) -> Frame | None:
    try:
        frame = json.loads(text or "")
    except ValueError:
        return None
    return frame if isinstance(frame, dict) else None


def through(frame: Frame) -> Iterable[Frame]:
    """Nothing is bent."""
    yield frame


async def rehearse(
    caller: SimulatedPlatform,
    script: CallScript,
    url: str,
    agent: Agent,
    *,
    bend: Bend = through,
    flaw: Flaw = sound,
    proof: bool = False,
    **how: Any,
) -> Recording:
    """Play a script against our gateway as far as it is not broken on purpose."""
    app, _ = floor(agent, **how)
    return await CallRunner(caller, script, url, stage(bent(app, bend), flaw), try_forged=proof).run()


def states(checks: Iterable[Check], tape: Recording, script: CallScript) -> dict[str, str]:
    return {verdict.item: verdict.state for verdict in evaluate_checks(checks, tape, script)}


def broken(checks: Iterable[Check], tape: Recording, script: CallScript) -> dict[str, tuple[str, ...]]:
    """What is broken, and how."""
    return {verdict.item: verdict.violations for verdict in evaluate_checks(checks, tape, script) if verdict.violations}
