"""The simulation ends in time at any server, also at a silent or endless one."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.simulate.asgi_http import body_message, post_to_app
from tests.simulate.flawed_http import KEY, URL, PlatformClass, make_script, refuse_connection, run_call
from tests.support.clock import VirtualLoop
from tests.support.fake_agent import fake_agent as agent
from tests.support.gateway import create_gateway
from voicegw.simulate.http_runner import HttpRunner
from voicegw.simulate.platforms.elevenlabs import SimulatedElevenLabs
from voicegw.simulate.platforms.vapi import SimulatedVapi

STREAM = [(b"content-type", b"text/event-stream")]


def answering(*pieces: bytes | float, status: int = 200, ends: bool = True) -> ASGIApp:
    """Return a server that answers every request with these pieces and pauses."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": STREAM})
        for piece in pieces:
            if isinstance(piece, float):
                await asyncio.sleep(piece)
            else:
                await send(body_message(piece))
        if ends:
            await send(body_message(b"", more=False))
        else:
            await asyncio.sleep(1e6)

    return app


async def test_unreachable_gateway_stops_the_simulation() -> None:
    recording, requests = await run_call(
        create_gateway(agent("Good day.")), make_script({"say": "One"}, {"say": "Two"}), refuse_connection
    )
    assert recording.failure == "no answer: nobody is there"
    assert recording.connected_at is None
    assert len(requests) == 1


@pytest.mark.parametrize("status", [401, 403, 404, 405])
async def test_fatal_status_stops_the_simulation(status: int) -> None:
    recording, requests = await run_call(
        answering(b"no", status=status), make_script({"say": "One"}, {"say": "Two"})
    )
    assert recording.failure == f"the request was refused with status {status}"
    assert recording.status == status
    assert len(requests) == 1


KEEPALIVE: tuple[bytes | float, ...] = (b": still there\n\n", 1.0)
SILENT_APPS = [
    answering(ends=False),
    answering(b"data: ", ends=False),
    answering(*300 * KEEPALIVE),
    answering(b"no", status=500, ends=False),
]


@pytest.mark.parametrize("app", SILENT_APPS)
async def test_endless_answer_stops_the_simulation_after_the_answer_timeout(app: ASGIApp) -> None:
    began = asyncio.get_running_loop().time()
    recording, requests = await run_call(app, make_script({"say": "One"}, {"say": "Two"}))
    assert recording.failure == "turn 1 was not answered within 60 s"
    assert asyncio.get_running_loop().time() - began == 60.0
    assert len(requests) == 1


async def test_body_after_done_is_left_after_the_tail_time() -> None:
    done = (
        b'data: {"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    )
    recording, _ = await run_call(answering(done, ends=False), make_script({"say": "One"}, {"say": "Two"}))
    assert [stream.left_at for stream in recording.streams] == [0.25, 0.5]
    assert [stream.body_ended_at for stream in recording.streams] == [None, None]
    assert [turn.end_times for turn in recording.turns] == [[0.0], [0.25]]


async def test_too_much_data_stops_the_simulation() -> None:
    recording, _ = await run_call(answering(*30_000 * [b": \n\n"]), make_script({"say": "One"}))
    assert recording.failure == "the gateway sends more than 20000 pieces, or than 8 MiB"
    recording, _ = await run_call(answering(*9 * [(1 << 20) * b"x"]), make_script({"say": "One"}))
    assert recording.failure == "the gateway sends more than 20000 pieces, or than 8 MiB"


async def test_log_has_no_key_and_shortened_texts() -> None:
    recording, _ = await run_call(
        create_gateway(agent(10_000 * "word ")), make_script({"say": "Hello?"}), platform=SimulatedVapi
    )
    assert KEY not in repr(recording)
    assert max(len(text) for _, _, text in recording.log) <= 401


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
PLATFORMS: st.SearchStrategy[PlatformClass] = st.sampled_from((SimulatedElevenLabs, SimulatedVapi))
FULL_SCRIPT = make_script(
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
def test_any_response_is_recorded_without_an_exception(
    pieces: list[bytes | float], status: int, ends: bool, platform: PlatformClass
) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        recording, _ = runner.run(
            run_call(answering(*pieces, status=status, ends=ends), FULL_SCRIPT, platform=platform)
        )
    assert len(recording.turns) <= 8


async def test_probe_fails_after_the_answer_timeout() -> None:
    script = make_script({"say": "One"}, patience={"answer": 2.0})
    post = post_to_app(answering(status=401, ends=False))
    recording = await HttpRunner(
        SimulatedElevenLabs(script, URL, secret=KEY), script, post, try_wrong_key=True
    ).run()
    assert recording.probe_results == {"wrong-key": "no answer within 2 s"}
    assert recording.forged_status is None
    assert recording.failure == "turn 1 was not answered within 2 s"


async def test_unreachable_gateway_fails_the_probe() -> None:
    script = make_script({"say": "One"})
    post = post_to_app(create_gateway(agent("Hi")), refuse_connection)
    recording = await HttpRunner(SimulatedElevenLabs(script, URL), script, post, try_wrong_key=True).run()
    assert recording.probe_results == {"wrong-key": "no answer: nobody is there"}
