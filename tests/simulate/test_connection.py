"""The connection of a simulation survives any gateway, records all frames, and leaves nothing open."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from tests.simulate.plain_platform import (
    GatewaySocket,
    PlainPlatform,
    SocketOpener,
    answering,
    make_script,
    run_call,
    sent_frames,
    silent_gateway,
)
from voicegw.simulate.call_runner import CallRunner
from voicegw.simulate.checks import CONNECTS, PONG, evaluate_checks
from voicegw.simulate.connection import MAX_FRAMES, MAX_TOTAL_SIZE, PlatformSocket, SocketClosed
from voicegw.simulate.platform import Frame
from voicegw.simulate.recording import Recording


def connect_violations(recording: Recording) -> tuple[str, ...]:
    [result] = evaluate_checks([CONNECTS], recording, make_script())
    return result.violations


async def test_rejected_handshake_is_recorded_with_its_status() -> None:
    recording = await run_call(make_script(), SocketOpener(403))
    assert (recording.status, recording.connected_at, recording.failure) == (
        403,
        None,
        "the handshake was refused with status 403",
    )
    assert connect_violations(recording) == ("the handshake was refused with status 403",)


@pytest.mark.parametrize("try_forged", [False, True])
async def test_unreachable_gateway_is_a_failure(try_forged: bool) -> None:
    recording = await run_call(make_script(), SocketOpener(OSError("refused")), try_forged=try_forged)
    assert (recording.status, recording.forged_status, recording.failure) == (
        None,
        None,
        "no connection: refused",
    )
    assert connect_violations(recording) == ("no connection: refused",)


@pytest.mark.parametrize("try_forged", [False, True])
async def test_unanswered_handshake_fails_after_the_connect_timeout(try_forged: bool) -> None:
    async def open_socket(address: str, headers: Mapping[str, str]) -> PlatformSocket:
        await asyncio.sleep(3600)
        raise AssertionError

    recording = await run_call(make_script(patience={"connect": 2}), open_socket, try_forged=try_forged)
    assert recording.failure == "no connection within 2 s"


async def test_pings_are_sent_at_their_interval_and_with_each_question() -> None:
    script = make_script({"say": "Hello?"}, {"say": "And?"})
    recording = await run_call(
        script, SocketOpener(answering([2.5, "done"], [2.0, "done"])), ping_interval=2.0
    )
    pings = [(0.0, 0.0), (2.0, 2.0), (2.5, 2.5), (4.0, 4.0)]
    assert recording.pings == pings
    [pong] = evaluate_checks([PONG], recording, script)
    assert pong.state == "held"


async def test_pings_without_time_for_an_answer_are_dropped_and_older_ones_are_kept() -> None:
    script = make_script({"say": "Hello?", "wait": 3.9, "hang_up": 0.2})
    recording = await run_call(script, SocketOpener(silent_gateway), ping_interval=2.0)
    assert [text for _, text in sent_frames(recording)].count("ping") == 3
    assert recording.pings == [(2.0, None)]


async def test_returned_frames_are_sent_at_once() -> None:
    recording = await run_call(make_script(), SocketOpener(answering(["return result", "say Hi.", "done"])))
    assert recording.log[2:6] == [
        (0.0, "<", "return result"),
        (0.0, ">", "result"),
        (0.0, "<", "say Hi."),
        (0.0, "<", "done"),
    ]


@pytest.mark.parametrize(("frames", "size"), [(MAX_FRAMES + 1, 1), (MAX_TOTAL_SIZE // 2**20 + 1, 2**20)])
async def test_too_many_frames_stop_the_simulation(frames: int, size: int) -> None:
    async def gateway(socket: GatewaySocket) -> None:
        socket.deliver(*["x" * size] * frames)

    open_socket = SocketOpener(gateway)
    recording = await run_call(make_script(), open_socket)
    assert recording.failure == "the gateway sends more than 20000 frames, or than 8 MiB"
    assert open_socket.sockets[0].ended_by == "closed"
    assert recording.gateway_close is None


async def test_gateway_that_does_not_read_stops_the_simulation() -> None:
    class Stuck(GatewaySocket):
        async def send(self, frame: Frame) -> None:
            await asyncio.sleep(3600)

    async def open_socket(address: str, headers: Mapping[str, str]) -> PlatformSocket:
        return Stuck(silent_gateway)

    recording = await run_call(make_script(patience={"connect": 2}), open_socket)
    assert (recording.failure, recording.gateway_close) == (
        "the gateway no longer reads from the connection",
        (2.0, 1006),
    )


async def test_socket_that_does_not_close_is_left_after_the_connect_timeout() -> None:
    class Stubborn(GatewaySocket):
        async def close(self) -> None:
            await super().close()
            await asyncio.sleep(3600)

    async def open_socket(address: str, headers: Mapping[str, str]) -> PlatformSocket:
        return Stubborn(answering(["done"]))

    began = asyncio.get_running_loop().time()
    recording = await run_call(make_script(patience={"connect": 2}), open_socket)
    assert (recording.failure, asyncio.get_running_loop().time() - began) == ("", 2.3)


async def test_close_during_a_send_is_recorded() -> None:
    class Closing(GatewaySocket):
        async def send(self, frame: Frame) -> None:
            raise SocketClosed(1000)

    async def open_socket(address: str, headers: Mapping[str, str]) -> PlatformSocket:
        return Closing(silent_gateway)

    recording = await run_call(make_script(), open_socket)
    assert (recording.failure, recording.gateway_close) == (
        "the gateway closed the connection with code 1000",
        (0.0, 1000),
    )


async def test_error_of_the_platform_is_raised_at_once() -> None:
    call = CallRunner(
        PlainPlatform(), make_script(), "ws://gateway", SocketOpener(answering(["break mistake"]))
    )
    with pytest.raises(ZeroDivisionError, match="mistake"):
        await call.run()
    assert call.recording.failure == "voicegw simulate itself has a bug; please report it with the traceback"
    assert call.connection.now == 0.0


async def test_cancelled_simulation_closes_its_socket() -> None:
    open_socket = SocketOpener(silent_gateway)
    playing = asyncio.ensure_future(run_call(make_script(), open_socket, ping_interval=1.0))
    await asyncio.sleep(2)
    playing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await playing
    assert open_socket.sockets[0].ended_by == "closed"
