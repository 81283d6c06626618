"""The files in configs/ put agents behind the gateway, which learn what of their words was heard."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.agents.openhands.server_double import FakeOpenHandsServer, answer_steps
from tests.agents.upstream import Upstream, chunk, chunked_head
from tests.agents.zeroclaw.server import FakeZeroClawServer
from tests.support.gateway import loop_time, send_turn
from voicegw.app.agents import make_agent
from voicegw.app.create import create_app
from voicegw.config.load import load
from voicegw.events import Agent

pytestmark = pytest.mark.wire

CONFIGS = Path(__file__).parents[2] / "configs"
KEYS = dict.fromkeys(("OPENHANDS_KEY", "ZEROCLAW_TOKEN", "DOCKER_AGENT_KEY"), "s3cret-0123")
HELLO, SORRY = {"role": "user", "content": "Hello?"}, {"role": "user", "content": "Sorry?"}
HEARD_PART = {"role": "assistant", "content": "We are"}
INPUT_AFTER_INTERRUPTION = '(The caller interrupted you: of your last answer they heard only "We are".)\n\nSorry?'


async def interrupted_call(name: str, url: str, folder: Path) -> list[str]:
    """Both answers of the agent in a file to a caller who hears but a part of the first one."""
    text = re.sub(r'url = ".*"', f'url = "{url}"', (CONFIGS / f"{name}.toml").read_text("utf-8"))
    file = folder / "voicegw.toml"
    file.write_text(text, "utf-8")
    made: list[Agent] = []

    def make(table: Any, config: Any) -> Agent:
        made.append(make_agent(table, config))
        return made[0]

    app, call = create_app(load(file, KEYS), now=loop_time, agents=make), {"x-voicegw-call": "c1"}
    one = await send_turn(app, {"messages": [HELLO]}, headers=call)
    heard = {**HEARD_PART, "content": one.text[: one.text.index("We")] + "We are"}
    two = await send_turn(app, {"messages": [HELLO, heard, SORRY]}, headers=call)
    await made[0].aclose()
    return [one.text, two.text]


def without_acknowledgements(texts: list[str]) -> list[str]:
    """The answers without our own words, which leave at once and are never the same twice running."""
    ours, theirs = zip(*(text.split(". ", 1) for text in texts), strict=True)
    assert len(set(ours)) == 2
    return list(theirs)


async def test_openhands(tmp_path: Path) -> None:
    async with FakeOpenHandsServer(answer_steps("We are ", "open."), answer_steps("All day."), key="s3cret-0123") as hands:
        hands.answers["GET /api/profiles"] = 200, {"profiles": [{"name": "voice"}], "active_profile": "voice"}
        assert without_acknowledgements(await interrupted_call("openhands", hands.url, tmp_path)) == ["We are open.", "All day."]
    assert hands.received_texts == ["Hello?", INPUT_AFTER_INTERRUPTION]


async def test_zeroclaw(tmp_path: Path) -> None:
    said = [[{"type": "chunk", "content": text}] for text in ("We are open.", "All day.")]
    async with FakeZeroClawServer(*((*frames, {"type": "done", "full_response": ""}) for frames in said)) as claw:
        assert without_acknowledgements(await interrupted_call("zeroclaw", claw.url, tmp_path)) == ["We are open.", "All day."]
    assert claw.received_texts == ["Hello?", INPUT_AFTER_INTERRUPTION]
    assert set(claw.keys) == {"Bearer s3cret-0123"}


async def test_docker_agent(tmp_path: Path) -> None:
    def stream(*texts: str) -> tuple[bytes, ...]:
        deltas = [{"choices": [{"delta": {"content": text}}]} for text in texts]
        events = b"".join(b"data: %b\n\n" % orjson.dumps(delta) for delta in deltas)
        return (chunked_head("content-type: text/event-stream"), chunk(events + b"data: [DONE]\n\n"), chunk(b""))

    async with Upstream(stream("We are ", "open."), stream("All day.")) as upstream:
        assert without_acknowledgements(await interrupted_call("docker-agent", upstream.url, tmp_path)) == [
            "We are open.",
            "All day.",
        ]
    bodies = [orjson.loads(request.partition(b"\r\n\r\n")[2]) for request in upstream.requests[-2:]]
    assert [body["messages"] for body in bodies] == [[HELLO], [HELLO, HEARD_PART, SORRY]]
