"""Requests over real sockets, to servers that are silent, garble, redirect, fail or never end."""

from __future__ import annotations

import asyncio
import socket

import pytest

from tests.agents.upstream import Act, Piece, Upstream, answer, chunk, chunked, until
from tests.simulate.desk import KEY, states
from voicegw.api.chat_response import ChunkEncoder
from voicegw.errors import ConfigError
from voicegw.simulate.http_checks import HttpRecording
from voicegw.simulate.http_client import HttpSender
from voicegw.simulate.http_runner import HttpRunner
from voicegw.simulate.platforms.elevenlabs import SimulatedElevenLabs
from voicegw.simulate.script import CallScript

pytestmark = pytest.mark.wire

CHUNKS = ChunkEncoder("chatcmpl-1", "desk", 1)
HEAD = chunked("content-type: text/event-stream")
HELLO, END = CHUNKS.start("Good day. "), CHUNKS.finish("stop", None)
WHOLE = (HEAD, chunk(HELLO), chunk(END) + chunk(b""))


def script(*turns: dict[str, object], **patience: float) -> CallScript:
    asked = list(turns) or [{"say": "One"}]
    return CallScript.model_validate({"turns": asked, "patience": {"answer": 0.3, **patience}})


async def play(played: CallScript, url: str) -> HttpRecording:
    posting = HttpSender(url)
    try:
        return await HttpRunner(SimulatedElevenLabs(played, f"{url}/v1", secret=KEY), played, posting).run()
    finally:
        await posting.aclose()


async def test_a_good_answer_is_heard_and_its_connection_used_again() -> None:
    async with Upstream(WHOLE, WHOLE) as upstream:
        tape = await play(script({"say": "One"}, {"say": "Two"}), upstream.url)
        assert [turn.text for turn in tape.turns] == ["Good day. ", "Good day. "]
        assert upstream.connections == 1
    assert tape.failure == ""
    head = upstream.requests[0].split(b"\r\n\r\n")[0].decode().split("\r\n")
    assert head[0] == "POST /v1/chat/completions HTTP/1.1"
    assert f"Authorization: Bearer {KEY}" in head
    assert "accept-encoding: identity" in head


@pytest.mark.parametrize(
    ("reply", "failure"),
    [
        ((Act.HANG,), "turn 1 was not answered within 0.3 s"),
        ((HEAD, chunk(HELLO), Act.HANG), "turn 1 was not answered within 0.3 s"),
        ((b"SSH-2.0-OpenSSH_9.6\r\n", Act.HANG), "no answer: http://127.0.0.1:"),
        ((Act.CLOSE,), "no answer: "),
        ((answer(b"", "location: https://elsewhere.example/", status="307 Moved"),), "no answer: "),
        ((answer(b"", status="401 Unauthorized"),), "the request was refused with status 401"),
    ],
)
async def test_where_nothing_can_come_the_rehearsal_ends(
    reply: tuple[Piece | Act, ...], failure: str
) -> None:
    async with Upstream(reply) as upstream:
        tape = await play(script({"say": "One"}, {"say": "Two"}), upstream.url)
    assert tape.failure.startswith(failure)
    assert len(tape.turns) == 1
    assert KEY not in repr(tape)


async def test_a_redirect_is_told_with_its_target() -> None:
    async with Upstream(
        (answer(b"", "location: https://elsewhere.example/", status="301 Moved"),)
    ) as upstream:
        tape = await play(script(), upstream.url)
    assert "https://elsewhere.example/" in tape.failure


@pytest.mark.parametrize("act", [Act.CLOSE, Act.RESET])
async def test_a_connection_that_breaks_half_way_ends_the_turn_alone(act: Act) -> None:
    async with Upstream((HEAD, chunk(HELLO), act), WHOLE) as upstream:
        played = script({"say": "One"}, {"say": "Two"})
        tape = await play(played, upstream.url)
    assert [turn.outcome for turn in tape.turns] == ["unanswered", "answered"]
    assert tape.failure == ""
    found = {item for item, state in states(SimulatedElevenLabs, tape, played).items() if state == "broken"}
    assert found == {"answers", "done"}


async def test_an_error_is_noted_and_the_call_goes_on() -> None:
    async with Upstream((answer(b"oh no", status="500 Error"),), WHOLE) as upstream:
        tape = await play(script({"say": "One"}, {"say": "Two"}), upstream.url)
    assert [turn.status for turn in tape.turns] == [500, 200]
    assert "oh no" in [text for _, _, text in tape.log]


async def test_a_body_that_never_ends_is_left_soon_after_its_last_event() -> None:
    async with Upstream((HEAD, chunk(HELLO), chunk(END), Act.HANG)) as upstream:
        played = script(answer=5.0)
        async with asyncio.timeout(2.0):
            tape = await play(played, upstream.url)
        await until(upstream.gone.is_set)
    assert states(SimulatedElevenLabs, tape, played)["done"] == "broken"
    assert tape.turns[0].outcome == "answered"


async def test_hanging_up_closes_the_connection() -> None:
    async with Upstream((HEAD, chunk(HELLO), Act.HANG)) as upstream:
        tape = await play(script({"say": "One", "interrupt": 0.0}), upstream.url)
        await until(upstream.gone.is_set)
    assert tape.turns[0].outcome == "stopped"


async def test_nobody_there_is_told() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        tape = await play(script(), f"http://127.0.0.1:{bound.getsockname()[1]}")
    assert tape.failure.startswith("no answer: http://127.0.0.1:")


async def test_what_is_no_address_is_refused_at_once() -> None:
    with pytest.raises(ConfigError):
        HttpSender("ws://127.0.0.1/v1")
