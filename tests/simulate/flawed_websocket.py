"""Gateways with a flaw: the frames that reach them, or leave them, are changed on purpose."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from starlette.types import ASGIApp, Receive, Scope, Send

from tests.simulate.asgi_websocket import Flaw, sockets_to_app, unchanged
from tests.support.fake_agent import FakeAgent as Agent
from tests.support.gateway import make_call_server
from voicegw.simulate.call_runner import CallRunner
from voicegw.simulate.checks import Check, evaluate_checks
from voicegw.simulate.platform import SimulatedPlatform
from voicegw.simulate.recording import Recording
from voicegw.simulate.script import CallScript

Frame: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class DirectReply:
    """A frame that goes to the platform without the gateway; a number is a close code."""

    frame: Frame | int


Bend: TypeAlias = Callable[[Frame], Iterable[Frame | DirectReply]]
"""Yields the frames that reach the gateway instead of a JSON object from the platform."""


def bend_frames(app: ASGIApp, bend: Bend) -> ASGIApp:
    """Put `bend` before the application. Frames without a JSON object are passed on as they are."""

    async def bent_app(scope: Scope, receive: Receive, send: Send) -> None:
        waiting: deque[Frame] = deque()

        async def bent_receive() -> Any:
            while not waiting:
                message = await receive()
                frame = _decode_object(message.get("text"))
                if frame is None:
                    return message
                for bent in bend(frame):
                    if isinstance(bent, DirectReply):
                        await send(_encode_reply(bent))
                    else:
                        waiting.append(bent)
            return {"type": "websocket.receive", "text": json.dumps(waiting.popleft())}

        await app(scope, bent_receive, send)

    return bent_app


def _encode_reply(reply: DirectReply) -> Frame:
    if isinstance(reply.frame, int):
        return {"type": "websocket.close", "code": reply.frame}
    return {"type": "websocket.send", "text": json.dumps(reply.frame)}


def _decode_object(text: str | None) -> Frame | None:
    try:
        frame = json.loads(text or "")
    except ValueError:
        return None
    return frame if isinstance(frame, dict) else None


def unbent(frame: Frame) -> Iterable[Frame]:
    """Be no bend: yield the frame itself."""
    yield frame


async def run_call(
    platform: SimulatedPlatform,
    script: CallScript,
    url: str,
    agent: Agent,
    *,
    bend: Bend = unbent,
    flaw: Flaw = unchanged,
    try_forged: bool = False,
    **options: Any,
) -> Recording:
    """Run a script against our gateway with a flaw."""
    app, _ = make_call_server(agent, **options)
    return await CallRunner(
        platform, script, url, sockets_to_app(bend_frames(app, bend), flaw), try_forged=try_forged
    ).run()


def check_states(checks: Iterable[Check], recording: Recording, script: CallScript) -> dict[str, str]:
    return {result.item: result.state for result in evaluate_checks(checks, recording, script)}


def broken_checks(
    checks: Iterable[Check], recording: Recording, script: CallScript
) -> dict[str, tuple[str, ...]]:
    """Return the violations of each broken check."""
    return {
        result.item: result.violations
        for result in evaluate_checks(checks, recording, script)
        if result.violations
    }
