"""The turn log: lines and metrics of turns, calls and refused requests."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.types import ASGIApp

from tests.support.asgi import send_request
from tests.support.fake_agent import Step, fake_agent
from tests.support.gateway import create_gateway, send_turn
from voicegw.errors import AgentTimeout
from voicegw.security.keys import hash_secret

KEY = "vgw_secret"
KEYS = {"shop": {"hash": f"sha256:{hash_secret(KEY).hex()}"}}


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[Any]:
    """Return a function that returns the lines logged so far."""
    with caplog.at_level(logging.INFO, "voicegw.access"):
        yield lambda: [json.loads(r.getMessage()) for r in caplog.records if r.name == "voicegw.access"]


async def metrics(app: ASGIApp, **headers: str) -> dict[str, float]:
    answer = await send_request(app, path="/metrics", method="GET", headers=headers)
    samples = [line.rsplit(" ", 1) for line in answer.body.decode().splitlines() if line[:1] != "#"]
    return {name: float(value) for name, value in samples if "_created" not in name}


async def test_turn_is_one_line_with_every_latency(lines: Any) -> None:
    agent = fake_agent(0.3, "Hi", 0.2, " there", 0.1)
    answer = await send_turn(
        create_gateway(agent, keys=KEYS), headers={"authorization": f"Bearer {KEY}", "x-request-id": "mine"}
    )
    assert answer.text == "One moment. Hi there"
    await asyncio.sleep(0.1)
    assert lines() == [
        {
            "event": "turn",
            "turn": agent.turns[0].id,
            "request": "mine",
            "agent": "desk",
            "key": "shop",
            "call": None,
            "outcome": "answered",
            "error": None,
            "first_chunk_ms": 0.0,
            "ack_ms": 0.0,
            "answer_ms": 300.0,
            "gap_ms": 300.0,
            "total_ms": 600.0,
            "stop_ms": None,
            "deltas": 2,
        }
    ]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("steps", "hang_up", "outcome", "error"),
    [
        ((0.1, "Hi"), None, "answered", None),
        ((0.1, AgentTimeout("no answer", "secret words")), None, "failed", "AgentTimeout"),
        ((0.1, "Hi", AgentTimeout("no answer", "secret words")), None, "failed", "AgentTimeout"),
        ((0.1, "Hi", 60.0), 0.5, "cancelled", None),
        ((60.0,), 0.5, "cancelled", None),
    ],
)
async def test_every_turn_has_an_outcome(
    lines: Any, stream: bool, steps: tuple[Step, ...], hang_up: float | None, outcome: str, error: str | None
) -> None:
    app = create_gateway(fake_agent(*steps, closing=0.05))
    await send_turn(app, {"stream": stream}, hang_up=hang_up)
    await asyncio.sleep(1)
    [turn] = [line for line in lines() if line["event"] == "turn"]
    assert (turn["outcome"], turn["error"]) == (outcome, error)
    assert turn["stop_ms"] == (50.0 if outcome == "cancelled" else None)
    found = await metrics(app)
    assert found[f'voicegw_turns_total{{agent="desk",outcome="{outcome}"}}'] == 1
    assert found["voicegw_turns_running"] == 0
    assert turn.get("why") == ("no answer" if error else None)
    assert "secret" not in str(lines())


async def test_words_of_the_agent_about_a_failure_are_logged_only_if_configured(lines: Any) -> None:
    for errors, quote in ((False, None), (True, "my number is 555")):
        await send_turn(create_gateway(fake_agent(ValueError("my number is 555")), trace={"errors": errors}))
        await asyncio.sleep(0.1)
        line = lines()[-1]
        assert (line["error"], line["why"]) == ("AgentError", "the agent raised ValueError")
        assert line.get("quote") == quote
        assert ("555" in str(line)) is errors
        assert ("Traceback" in line.get("trace", "")) is errors


async def test_lone_surrogate_in_an_exception_is_logged(lines: Any) -> None:
    await send_turn(create_gateway(fake_agent(ValueError("half \ud83d")), trace={"errors": True}))
    await asyncio.sleep(0.1)
    assert lines()[-1]["quote"] == "half \ufffd"


async def test_silence_before_the_caller_left_counts_as_gap(lines: Any) -> None:
    await send_turn(create_gateway(fake_agent(60.0)), hang_up=12.0)
    await asyncio.sleep(1)
    assert [line["gap_ms"] for line in lines()] == [12_000.0]


async def test_turn_whose_agent_does_not_close_is_logged_after_stop_timeout(lines: Any) -> None:
    app = create_gateway(fake_agent(60.0, closing=9.0), turns={"stop_timeout": 0.5})
    await send_turn(app, hang_up=1.0)
    await asyncio.sleep(0.4)
    assert lines() == []
    await asyncio.sleep(0.2)
    assert [line["stop_ms"] for line in lines()] == [None]
    await asyncio.sleep(9)


async def test_without_log_turns_are_only_counted(lines: Any) -> None:
    app = create_gateway(fake_agent("Hi"), trace={"log": False})
    await send_turn(app)
    await asyncio.sleep(0.1)
    assert lines() == []
    assert (await metrics(app))['voicegw_turns_total{agent="desk",outcome="answered"}'] == 1


async def test_refusal_is_one_line_without_secrets(lines: Any) -> None:
    app = create_gateway(fake_agent("Hi"), keys=KEYS)
    answer = await send_turn(app, headers={"authorization": "Bearer vgw_wrong", "x-request-id": "mine"})
    assert answer.status == 401
    line = {"event": "refusal", "status": 401, "error": "Unauthorized"}
    assert lines() == [{**line, "request": "mine", "client": "127.0.0.1"}]
    found = await metrics(app, authorization=f"Bearer {KEY}")
    assert found['voicegw_refusals_total{status="401"}'] == 1


async def test_running_turns_are_counted() -> None:
    app = create_gateway(fake_agent(1.0, "Hi"))
    turns = [asyncio.ensure_future(send_turn(app)) for _ in range(3)]
    await asyncio.sleep(0.5)
    assert (await metrics(app))["voicegw_turns_running"] == 3
    await asyncio.gather(*turns)
    assert (await metrics(app))["voicegw_turns_running"] == 0


async def test_acknowledgement_and_first_token_are_two_latencies() -> None:
    app = create_gateway(fake_agent(0.3, "Hi", 0.2))
    await send_turn(app)
    await asyncio.sleep(0.1)
    found = await metrics(app)
    sums = {
        "voicegw_first_chunk": 0.0,
        "voicegw_ack": 0.0,
        "gen_ai_server_time_to_first_token": 0.3,
        "gen_ai_client_operation_time_to_first_chunk": 0.3,
        "gen_ai_server_request_duration": 0.5,
        "voicegw_longest_gap": 0.3,
    }
    for name, seconds in sums.items():
        assert found[f'{name}_seconds_sum{{agent="desk"}}'] == seconds, name
        assert found[f'{name}_seconds_count{{agent="desk"}}'] == 1
    stops = 'voicegw_stop_seconds_count{agent="desk"}'
    assert found.get(stops, 0) == 0, "no run was cancelled"


async def test_metrics_are_prometheus_text_with_help_and_type() -> None:
    answer = await send_request(create_gateway(fake_agent("Hi")), path="/metrics", method="GET")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    for name in ("voicegw_turns_total", "voicegw_turns_running", "voicegw_ack_seconds"):
        assert f"# HELP {name} ".encode() in answer.body
        assert f"# TYPE {name} ".encode() in answer.body
