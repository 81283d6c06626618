"""The journal: what is written down of turns and refusals, and what is not."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.types import ASGIApp

from tests.support.asgi import drive
from tests.support.gateway import ask, gateway
from tests.support.script import Step, script
from voicegw.errors import AgentTimeout
from voicegw.security.keys import digest

KEY = "vgw_secret"
SHOP = {"shop": {"hash": f"sha256:{digest(KEY).hex()}"}}


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[Any]:
    """The lines that were logged so far."""
    with caplog.at_level(logging.INFO, "voicegw.access"):
        yield lambda: [json.loads(r.getMessage()) for r in caplog.records if r.name == "voicegw.access"]


async def metrics(app: ASGIApp, **headers: str) -> dict[str, float]:
    answer = await drive(app, path="/metrics", method="GET", headers=headers)
    samples = [line.rsplit(" ", 1) for line in answer.body.decode().splitlines() if line[:1] != "#"]
    return {name: float(value) for name, value in samples if "_created" not in name}


async def test_a_turn_is_one_line_with_every_latency(lines: Any) -> None:
    agent = script(0.3, "Hi", 0.2, " there", 0.1)
    answer = await ask(
        gateway(agent, keys=SHOP), headers={"authorization": f"Bearer {KEY}", "x-request-id": "mine"}
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
    app = gateway(script(*steps, closing=0.05))
    await ask(app, {"stream": stream}, hang_up=hang_up)
    await asyncio.sleep(1)
    [turn] = [line for line in lines() if line["event"] == "turn"]
    assert (turn["outcome"], turn["error"]) == (outcome, error)
    assert turn["stop_ms"] == (50.0 if outcome == "cancelled" else None)
    found = await metrics(app)
    assert found[f'voicegw_turns_total{{agent="desk",outcome="{outcome}"}}'] == 1
    assert found["voicegw_turns_running"] == 0
    assert turn.get("why") == ("no answer" if error else None)
    assert "secret" not in str(lines())


async def test_what_others_said_of_a_failure_is_told_only_if_that_was_asked_for(lines: Any) -> None:
    for errors, told in ((False, None), (True, "my number is 555")):
        await ask(gateway(script(ValueError("my number is 555")), trace={"errors": errors}))
        await asyncio.sleep(0.1)
        line = lines()[-1]
        assert (line["error"], line["why"]) == ("AgentError", "the agent raised ValueError")
        assert line.get("quote") == told
        assert ("555" in str(line)) is errors
        assert ("Traceback" in line.get("trace", "")) is errors


async def test_half_an_emoji_in_what_an_agent_raised_does_not_cost_the_line(lines: Any) -> None:
    await ask(gateway(script(ValueError("half \ud83d")), trace={"errors": True}))
    await asyncio.sleep(0.1)
    assert lines()[-1]["quote"] == "half \ufffd"


async def test_the_silence_in_which_the_caller_left_is_a_gap_too(lines: Any) -> None:
    await ask(gateway(script(60.0)), hang_up=12.0)
    await asyncio.sleep(1)
    assert [line["gap_ms"] for line in lines()] == [12_000.0]


async def test_a_turn_whose_agent_does_not_close_is_written_down_after_the_wait_for_it(lines: Any) -> None:
    app = gateway(script(60.0, closing=9.0), turns={"stop_timeout": 0.5})
    await ask(app, hang_up=1.0)
    await asyncio.sleep(0.4)
    assert lines() == []
    await asyncio.sleep(0.2)
    assert [line["stop_ms"] for line in lines()] == [None]
    await asyncio.sleep(9)


async def test_a_log_that_is_off_has_no_turns_but_the_metrics_do(lines: Any) -> None:
    app = gateway(script("Hi"), trace={"log": False})
    await ask(app)
    await asyncio.sleep(0.1)
    assert lines() == []
    assert (await metrics(app))['voicegw_turns_total{agent="desk",outcome="answered"}'] == 1


async def test_a_refusal_is_one_line_that_tells_who_and_why_and_no_secret(lines: Any) -> None:
    app = gateway(script("Hi"), keys=SHOP)
    answer = await ask(app, headers={"authorization": "Bearer vgw_wrong", "x-request-id": "mine"})
    assert answer.status == 401
    refused = {"event": "refusal", "status": 401, "error": "Unauthorized"}
    assert lines() == [{**refused, "request": "mine", "client": "127.0.0.1"}]
    found = await metrics(app, authorization=f"Bearer {KEY}")
    assert found['voicegw_refusals_total{status="401"}'] == 1


async def test_the_running_turns_are_counted() -> None:
    app = gateway(script(1.0, "Hi"))
    turns = [asyncio.ensure_future(ask(app)) for _ in range(3)]
    await asyncio.sleep(0.5)
    assert (await metrics(app))["voicegw_turns_running"] == 3
    await asyncio.gather(*turns)
    assert (await metrics(app))["voicegw_turns_running"] == 0


async def test_our_words_and_the_agent_s_answer_are_two_latencies() -> None:
    app = gateway(script(0.3, "Hi", 0.2))
    await ask(app)
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
    assert found.get(stops, 0) == 0, "nobody was cancelled"


async def test_metrics_are_prometheus_text_with_help_and_type() -> None:
    answer = await drive(gateway(script("Hi")), path="/metrics", method="GET")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    for name in ("voicegw_turns_total", "voicegw_turns_running", "voicegw_ack_seconds"):
        assert f"# HELP {name} ".encode() in answer.body
        assert f"# TYPE {name} ".encode() in answer.body
