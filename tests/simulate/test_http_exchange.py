"""Whatever a server answers, or does not: the rehearsal comes to its end, and soon enough."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.simulate.desk import KEY, URL, Platform, nobody, play, script
from tests.simulate.poststage import part, poststage
from tests.support.clock import VirtualLoop
from tests.support.gateway import gateway
from tests.support.script import script as agent
from voicegw.simulate.http_runner import HttpRunner
from voicegw.simulate.platforms.elevenlabs import SimulatedElevenLabs
from voicegw.simulate.platforms.vapi import SimulatedVapi

STREAM = [(b"content-type", b"text/event-stream")]


def serving(*pieces: bytes | float, status: int = 200, ends: bool = True) -> ASGIApp:
    """A server that always answers with these pieces and pauses."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": STREAM})
        for piece in pieces:
            if isinstance(piece, float):
                await asyncio.sleep(piece)
            else:
                await send(part(piece))
        if ends:
            await send(part(b"", more=False))
        else:
            await asyncio.sleep(1e6)

    return app


async def test_nobody_there_ends_it() -> None:
    tape, posted = await play(gateway(agent("Good day.")), script({"say": "One"}, {"say": "Two"}), nobody)
    assert tape.failure == "no answer: nobody is there"
    assert tape.connected_at is None
    assert len(posted) == 1


@pytest.mark.parametrize("status", [401, 403, 404, 405])
async def test_a_wrong_key_or_address_ends_it(status: int) -> None:
    tape, posted = await play(serving(b"no", status=status), script({"say": "One"}, {"say": "Two"}))
    assert tape.failure == f"the request was refused with status {status}"
    assert tape.status == status
    assert len(posted) == 1


STILL: tuple[bytes | float, ...] = (b": still there\n\n", 1.0)
SILENT = [
    serving(ends=False),
    serving(b"data: ", ends=False),
    serving(*300 * STILL),
    serving(b"no", status=500, ends=False),
]


@pytest.mark.parametrize("app", SILENT)
async def test_a_server_that_never_ends_its_answer_ends_the_patience(app: ASGIApp) -> None:
    began = asyncio.get_running_loop().time()
    tape, posted = await play(app, script({"say": "One"}, {"say": "Two"}))
    assert tape.failure == "turn 1 was not answered within 60 s"
    assert asyncio.get_running_loop().time() - began == 60.0
    assert len(posted) == 1


async def test_a_body_that_goes_on_after_its_end_is_left() -> None:
    done = (
        b'data: {"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    )
    tape, _ = await play(serving(done, ends=False), script({"say": "One"}, {"say": "Two"}))
    assert [stream.left_at for stream in tape.streams] == [0.25, 0.5]
    assert [stream.body_ended_at for stream in tape.streams] == [None, None]
    assert [turn.end_times for turn in tape.turns] == [[0.0], [0.25]]


async def test_a_flood_ends_the_rehearsal() -> None:
    tape, _ = await play(serving(*30_000 * [b": \n\n"]), script({"say": "One"}))
    assert tape.failure == "the gateway sends more than 20000 pieces, or than 8 MiB"
    tape, _ = await play(serving(*9 * [(1 << 20) * b"x"]), script({"say": "One"}))
    assert tape.failure == "the gateway sends more than 20000 pieces, or than 8 MiB"


async def test_the_log_holds_no_key_and_little_of_everything() -> None:
    tape, _ = await play(gateway(agent(10_000 * "word ")), script({"say": "Hello?"}), platform=SimulatedVapi)
    assert KEY not in repr(tape)
    assert max(len(text) for _, _, text in tape.log) <= 401


PIECES = st.lists(
    st.sampled_from(
        [
            *(b"data: ", b"[DONE]", b"\n\n", b": idle\n\n", 0.1, 3.0),
            b'data: {"id":"1","object":"chat.completion.chunk","created":1,"model":"m","choices":[]}\n\n',
            b'data: {"choices":[{"index":0,"delta":{"content":"Hi. "},"finish_reason":null}]}\n\n',
            b'data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"","function":'
            b'{"name":"weather","arguments":"{"}}]},"finish_reason":"tool_calls"}]}\n\n',
            b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n',
        ]
    )
    | st.binary(max_size=8),
    max_size=8,
)
PLATFORMS: st.SearchStrategy[Platform] = st.sampled_from((SimulatedElevenLabs, SimulatedVapi))
EVERY_WAY = script(
    *({"say": "a", "partial": ["b"]}, {"silent": True}, {"say": "c", "nonsense": True}),
    *({"say": "d", "interrupt": 0.1}, {"say": "e", "next": 0.1}, {"say": "f", "again": 0.1}),
    *({"say": "g", "drop": 0.1}, {"say": "h", "hang_up": 0.1}),
    tools=[{"name": "weather", "result": "Sunny."}],
)


@given(
    PIECES,
    st.sampled_from([200, 200, 204, 400, 401, 503]),
    st.booleans(),
    PLATFORMS,
)
@hypothesis(max_examples=50)
def test_no_server_makes_the_rehearsal_fail(
    pieces: list[bytes | float], status: int, ends: bool, platform: Platform
) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        tape, _ = runner.run(play(serving(*pieces, status=status, ends=ends), EVERY_WAY, platform=platform))
    assert len(tape.turns) <= 8


async def test_a_probe_has_its_patience_too() -> None:
    played = script({"say": "One"}, patience={"answer": 2.0})
    post = poststage(serving(status=401, ends=False))
    tape = await HttpRunner(SimulatedElevenLabs(played, URL, secret=KEY), played, post, try_wrong_key=True).run()
    assert tape.probe_results == {"wrong-key": "no answer within 2 s"}
    assert tape.forged_status is None
    assert tape.failure == "turn 1 was not answered within 2 s"


async def test_nobody_answers_a_probe() -> None:
    played = script({"say": "One"})
    post = poststage(gateway(agent("Hi")), nobody)
    tape = await HttpRunner(SimulatedElevenLabs(played, URL), played, post, try_wrong_key=True).run()
    assert tape.probe_results == {"wrong-key": "no answer: nobody is there"}
