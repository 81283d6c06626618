"""The example configurations of agents: each agent learns how much of its answer the caller heard."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.agents.openhands.fake_server import FakeOpenHandsServer, answer_steps
from tests.agents.upstream import Upstream, chunk, chunked_head
from tests.agents.zeroclaw.fake_server import FakeZeroClawServer
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
INPUT_AFTER_INTERRUPTION = (
    '(The caller interrupted you: of your last answer they heard only "We are".)\n\nSorry?'
)


async def interrupted_call(name: str, url: str, folder: Path) -> list[str]:
    """Return both answers of a configured agent to a caller who interrupts the first one."""
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
    """Return the answers without the acknowledgements, which differ from turn to turn."""
    acknowledgements, answers = zip(*(text.split(". ", 1) for text in texts), strict=True)
    assert len(set(acknowledgements)) == 2
    return list(answers)


async def test_openhands_learns_how_much_the_caller_heard(tmp_path: Path) -> None:
    async with FakeOpenHandsServer(
        answer_steps("We are ", "open."), answer_steps("All day."), key="s3cret-0123"
    ) as server:
        server.answers["GET /api/profiles"] = (
            200,
            {"profiles": [{"name": "voice"}], "active_profile": "voice"},
        )
        assert without_acknowledgements(await interrupted_call("openhands", server.url, tmp_path)) == [
            "We are open.",
            "All day.",
        ]
    assert server.received_texts == ["Hello?", INPUT_AFTER_INTERRUPTION]


async def test_zeroclaw_learns_how_much_the_caller_heard(tmp_path: Path) -> None:
    said = [[{"type": "chunk", "content": text}] for text in ("We are open.", "All day.")]
    async with FakeZeroClawServer(
        *((*frames, {"type": "done", "full_response": ""}) for frames in said)
    ) as server:
        assert without_acknowledgements(await interrupted_call("zeroclaw", server.url, tmp_path)) == [
            "We are open.",
            "All day.",
        ]
    assert server.received_texts == ["Hello?", INPUT_AFTER_INTERRUPTION]
    assert set(server.keys) == {"Bearer s3cret-0123"}


async def test_docker_agent_learns_how_much_the_caller_heard(tmp_path: Path) -> None:
    def stream(*texts: str) -> tuple[bytes, ...]:
        deltas = [{"choices": [{"delta": {"content": text}}]} for text in texts]
        events = b"".join(b"data: %b\n\n" % orjson.dumps(delta) for delta in deltas)
        return (
            chunked_head("content-type: text/event-stream"),
            chunk(events + b"data: [DONE]\n\n"),
            chunk(b""),
        )

    async with Upstream(stream("We are ", "open."), stream("All day.")) as upstream:
        assert without_acknowledgements(await interrupted_call("docker-agent", upstream.url, tmp_path)) == [
            "We are open.",
            "All day.",
        ]
    bodies = [orjson.loads(request.partition(b"\r\n\r\n")[2]) for request in upstream.requests[-2:]]
    assert [body["messages"] for body in bodies] == [[HELLO], [HELLO, HEARD_PART, SORRY]]
