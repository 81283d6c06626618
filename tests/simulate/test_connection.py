"""The connection of a rehearsal: survives any gateway, tapes everything, leaves nothing behind."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from tests.simulate.plain import Plain, Switch, Wire, answers, play, script, sent, silent
from voicegw.simulate.call_runner import CallRunner
from voicegw.simulate.checks import CONNECTS, PONG, evaluate_checks
from voicegw.simulate.connection import MAX_FRAMES, MAX_TOTAL_SIZE, SocketClosed, PlatformSocket
from voicegw.simulate.platform import Frame
from voicegw.simulate.recording import Recording


def connects(tape: Recording) -> tuple[str, ...]:
    [verdict] = evaluate_checks([CONNECTS], tape, script())
    return verdict.violations


async def test_a_refusal_is_taped_with_its_status() -> None:
    tape = await play(script(), Switch(403))
    assert (tape.status, tape.connected_at, tape.failure) == (
        403,
        None,
        "the handshake was refused with status 403",
    )
    assert connects(tape) == ("the handshake was refused with status 403",)


@pytest.mark.parametrize("proof", [False, True])
async def test_nobody_there_is_said_so(proof: bool) -> None:
    tape = await play(script(), Switch(OSError("refused")), proof=proof)
    assert (tape.status, tape.forged_status, tape.failure) == (None, None, "no connection: refused")
    assert connects(tape) == ("no connection: refused",)


@pytest.mark.parametrize("proof", [False, True])
async def test_a_handshake_that_nobody_answers_ends_with_patience(proof: bool) -> None:
    async def dial(address: str, headers: Mapping[str, str]) -> PlatformSocket:
        await asyncio.sleep(3600)
        raise AssertionError

    tape = await play(script(patience={"connect": 2}), dial, proof=proof)
    assert tape.failure == "no connection within 2 s"


async def test_pings_come_at_their_interval_and_with_every_question() -> None:
    told = script({"say": "Hello?"}, {"say": "And?"})
    tape = await play(told, Switch(answers([2.5, "done"], [2.0, "done"])), every=2.0)
    pings = [(0.0, 0.0), (2.0, 2.0), (2.5, 2.5), (4.0, 4.0)]
    assert tape.pings == pings
    [pong] = evaluate_checks([PONG], tape, told)
    assert pong.state == "held"


async def test_pings_that_nobody_could_answer_in_time_are_forgotten_and_older_ones_are_not() -> None:
    told = script({"say": "Hello?", "wait": 3.9, "hang_up": 0.2})
    tape = await play(told, Switch(silent), every=2.0)
    assert [text for _, text in sent(tape)].count("ping") == 3
    assert tape.pings == [(2.0, None)]


async def test_what_is_returned_goes_back_at_once() -> None:
    tape = await play(script(), Switch(answers(["return result", "say Hi.", "done"])))
    assert tape.log[2:6] == [
        (0.0, "<", "return result"),
        (0.0, ">", "result"),
        (0.0, "<", "say Hi."),
        (0.0, "<", "done"),
    ]


@pytest.mark.parametrize(("frames", "size"), [(MAX_FRAMES + 1, 1), (MAX_TOTAL_SIZE // 2**20 + 1, 2**20)])
async def test_a_gateway_that_floods_is_left(frames: int, size: int) -> None:
    async def gateway(wire: Wire) -> None:
        wire.say(*["x" * size] * frames)

    dial = Switch(gateway)
    tape = await play(script(), dial)
    assert tape.failure == "the gateway sends more than 20000 frames, or than 8 MiB"
    assert dial.wires[0].left == "closed"
    assert tape.gateway_close is None


async def test_a_gateway_that_reads_nothing_ends_the_rehearsal() -> None:
    class Stuck(Wire):
        async def send(self, frame: Frame) -> None:
            await asyncio.sleep(3600)

    async def dial(address: str, headers: Mapping[str, str]) -> PlatformSocket:
        return Stuck(silent)

    tape = await play(script(patience={"connect": 2}), dial)
    assert (tape.failure, tape.gateway_close) == ("the gateway reads nothing any more", (2.0, 1006))


async def test_a_socket_that_does_not_close_is_left() -> None:
    class Stubborn(Wire):
        async def close(self) -> None:
            await super().close()
            await asyncio.sleep(3600)

    async def dial(address: str, headers: Mapping[str, str]) -> PlatformSocket:
        return Stubborn(answers(["done"]))

    began = asyncio.get_running_loop().time()
    tape = await play(script(patience={"connect": 2}), dial)
    assert (tape.failure, asyncio.get_running_loop().time() - began) == ("", 2.3)


async def test_a_connection_that_ends_while_something_is_sent_is_taped_like_any_other() -> None:
    class Closing(Wire):
        async def send(self, frame: Frame) -> None:
            raise SocketClosed(1000)

    async def dial(address: str, headers: Mapping[str, str]) -> PlatformSocket:
        return Closing(silent)

    tape = await play(script(), dial)
    assert (tape.failure, tape.gateway_close) == ("the gateway closed the connection with code 1000", (0.0, 1000))


async def test_a_mistake_of_the_caller_is_raised_and_not_waited_out() -> None:
    call = CallRunner(Plain(), script(), "ws://gateway", Switch(answers(["break mistake"])))
    with pytest.raises(ZeroDivisionError, match="mistake"):
        await call.run()
    assert call.recording.failure == "the rehearsal itself made a mistake"
    assert call.connection.now == 0.0


async def test_a_rehearsal_that_is_given_up_leaves_nothing_behind() -> None:
    dial = Switch(silent)
    playing = asyncio.ensure_future(play(script(), dial, every=1.0))
    await asyncio.sleep(2)
    playing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await playing
    assert dial.wires[0].left == "closed"
