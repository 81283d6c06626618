"""Requests over real sockets, to servers that are silent, malformed, redirect, fail or never end."""

from __future__ import annotations

import asyncio
import socket

import pytest

from tests.agents.upstream import Action, Piece, Upstream, chunk, chunked_head, http_response, wait_until
from tests.simulate.flawed_http import KEY, check_states
from voicegw.api.chat_response import ChunkEncoder
from voicegw.errors import ConfigError
from voicegw.simulate.http_checks import HttpRecording
from voicegw.simulate.http_client import HttpSender
from voicegw.simulate.http_runner import HttpRunner
from voicegw.simulate.platforms.elevenlabs import SimulatedElevenLabs
from voicegw.simulate.script import CallScript

pytestmark = pytest.mark.wire

CHUNKS = ChunkEncoder("chatcmpl-1", "desk", 1)
HEAD = chunked_head("content-type: text/event-stream")
HELLO, END = CHUNKS.start("Good day. "), CHUNKS.finish("stop", None)
WHOLE = (HEAD, chunk(HELLO), chunk(END) + chunk(b""))


def make_script(*turns: dict[str, object], **patience: float) -> CallScript:
    asked = list(turns) or [{"say": "One"}]
    return CallScript.model_validate({"turns": asked, "patience": {"answer": 0.3, **patience}})


async def run_call(script: CallScript, url: str) -> HttpRecording:
    sender = HttpSender(url)
    try:
        return await HttpRunner(SimulatedElevenLabs(script, f"{url}/v1", secret=KEY), script, sender).run()
    finally:
        await sender.aclose()


async def test_complete_answer_is_heard_and_its_connection_is_reused() -> None:
    async with Upstream(WHOLE, WHOLE) as upstream:
        recording = await run_call(make_script({"say": "One"}, {"say": "Two"}), upstream.url)
        assert [turn.text for turn in recording.turns] == ["Good day. ", "Good day. "]
        assert upstream.connections == 1
    assert recording.failure == ""
    head = upstream.requests[0].split(b"\r\n\r\n")[0].decode().split("\r\n")
    assert head[0] == "POST /v1/chat/completions HTTP/1.1"
    assert f"Authorization: Bearer {KEY}" in head
    assert "accept-encoding: identity" in head


@pytest.mark.parametrize(
    ("reply", "failure"),
    [
        ((Action.HANG,), "turn 1 was not answered within 0.3 s"),
        ((HEAD, chunk(HELLO), Action.HANG), "turn 1 was not answered within 0.3 s"),
        ((b"SSH-2.0-OpenSSH_9.6\r\n", Action.HANG), "no answer: http://127.0.0.1:"),
        ((Action.CLOSE,), "no answer: "),
        ((http_response(b"", "location: https://elsewhere.example/", status="307 Moved"),), "no answer: "),
        ((http_response(b"", status="401 Unauthorized"),), "the request was refused with status 401"),
    ],
)
async def test_simulation_stops_after_an_answer_that_cannot_improve(
    reply: tuple[Piece | Action, ...], failure: str
) -> None:
    async with Upstream(reply) as upstream:
        recording = await run_call(make_script({"say": "One"}, {"say": "Two"}), upstream.url)
    assert recording.failure.startswith(failure)
    assert len(recording.turns) == 1
    assert KEY not in repr(recording)


async def test_redirect_is_a_failure_with_its_target() -> None:
    async with Upstream(
        (http_response(b"", "location: https://elsewhere.example/", status="301 Moved"),)
    ) as upstream:
        recording = await run_call(make_script(), upstream.url)
    assert "https://elsewhere.example/" in recording.failure


@pytest.mark.parametrize("action", [Action.CLOSE, Action.RESET])
async def test_broken_connection_ends_only_its_turn(action: Action) -> None:
    async with Upstream((HEAD, chunk(HELLO), action), WHOLE) as upstream:
        script = make_script({"say": "One"}, {"say": "Two"})
        recording = await run_call(script, upstream.url)
    assert [turn.outcome for turn in recording.turns] == ["unanswered", "answered"]
    assert recording.failure == ""
    found = {
        item
        for item, state in check_states(SimulatedElevenLabs, recording, script).items()
        if state == "broken"
    }
    assert found == {"answers", "done"}


async def test_error_status_is_recorded_and_the_call_goes_on() -> None:
    async with Upstream((http_response(b"oh no", status="500 Error"),), WHOLE) as upstream:
        recording = await run_call(make_script({"say": "One"}, {"say": "Two"}), upstream.url)
    assert [turn.status for turn in recording.turns] == [500, 200]
    assert "oh no" in [text for _, _, text in recording.log]


async def test_body_without_an_end_is_left_soon_after_done() -> None:
    async with Upstream((HEAD, chunk(HELLO), chunk(END), Action.HANG)) as upstream:
        script = make_script(answer=5.0)
        async with asyncio.timeout(2.0):
            recording = await run_call(script, upstream.url)
        await wait_until(upstream.disconnected.is_set)
    assert check_states(SimulatedElevenLabs, recording, script)["done"] == "broken"
    assert recording.turns[0].outcome == "answered"


async def test_hanging_up_closes_the_connection() -> None:
    async with Upstream((HEAD, chunk(HELLO), Action.HANG)) as upstream:
        recording = await run_call(make_script({"say": "One", "interrupt": 0.0}), upstream.url)
        await wait_until(upstream.disconnected.is_set)
    assert recording.turns[0].outcome == "stopped"


async def test_unreachable_server_is_a_failure() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        recording = await run_call(make_script(), f"http://127.0.0.1:{bound.getsockname()[1]}")
    assert recording.failure.startswith("no answer: http://127.0.0.1:")


async def test_invalid_url_raises_at_once() -> None:
    with pytest.raises(ConfigError):
        HttpSender("ws://127.0.0.1/v1")
