"""Frames of a platform's side of a call, for the tests of situations that occur on several platforms."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from tests.support.asgi_websocket import AsgiWebSocket
from tests.support.fake_agent import FakeAgent, Step
from voicegw.turns.acknowledgement import AckPolicy

SETUP = {"type": "setup", "callSid": "CA1", "callControlId": "v1"}
SILENT = AckPolicy(None)
RELAYS = ("twilio", "telnyx")


class PlannedAgent(FakeAgent):
    """Plays the steps that `plan` returns for each turn."""

    def __init__(self, plan: Callable[[Any], tuple[Step, ...]]) -> None:
        super().__init__()
        self.plan = plan

    async def reply(self, turn: Any) -> Any:
        self.steps = self.plan(turn)
        async for event in super().reply(turn):
            yield event


def prompt(words: str, **more: Any) -> dict[str, Any]:
    return {"type": "prompt", "voicePrompt": words, "last": True, **more}


def interrupt(heard: str | None) -> dict[str, Any]:
    return {"type": "interrupt", "utteranceUntilInterrupt": heard, "durationUntilInterruptMs": 460}


def details() -> dict[str, Any]:
    return {"interaction_type": "call_details", "call": {"call_id": "call1"}}


def request(id: int, *texts: str) -> dict[str, Any]:
    roles = ("user", "agent")
    transcript = [{"role": roles[index % 2], "content": text} for index, text in enumerate(texts)]
    return {"interaction_type": "response_required", "response_id": id, "transcript": transcript}


def words(websocket: AsgiWebSocket) -> list[tuple[float, str]]:
    """Return the spoken words with the time of each frame, on any platform."""
    texts = [(when, frame.get("token", frame.get("content"))) for when, frame in websocket.frames]
    return [(when, text) for when, text in texts if text]


def texts(turn: Any) -> list[str]:
    return [message.text for message in turn.messages]


async def say(websocket: AsgiWebSocket, *frames: Any, wait: float = 1.0) -> None:
    for frame in frames:
        websocket.send_frame(frame)
    await asyncio.sleep(wait)
