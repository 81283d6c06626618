"""The floor: who may open a call, how many, and that nothing of it stays."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest
from uvicorn.protocols.utils import ClientDisconnected

from tests.calls.test_session import HELLO, SETUP, SILENT, prompt, required, token
from tests.support.gateway import floor
from tests.support.phone import Phone, dial
from tests.support.script import script
from voicegw.calls import server as calls_floor
from voicegw.calls.server import SETUP as SETUP_WITHIN
from voicegw.calls.server import CallServer
from voicegw.calls.session import LEAVE, CallSession
from voicegw.platforms.conversation_relay.codec import RelayTurn
from voicegw.turns.phrases import PHRASES

BUSY = PHRASES["en"].busy
CALLING: dict[str, Any] = {"type": "websocket", "path": "/retell/1", "headers": []}


def opened(app: CallServer) -> dict[str, float]:
    """The gauge of open calls."""
    samples = app.engine.turn_log.metrics.calls_open.collect()[0].samples
    return {sample.labels["platform"]: sample.value for sample in samples}


def lines(caplog: pytest.LogCaptureFixture, event: str) -> list[dict[str, Any]]:
    found = [json.loads(message) for message in caplog.messages if message.startswith("{")]
    return [line for line in found if line["event"] == event]


@pytest.mark.parametrize(
    ("path", "draining", "status", "kind"),
    [
        ("/nowhere", False, 404, "not_found_error"),
        ("/", False, 404, "not_found_error"),
        ("", False, 404, "not_found_error"),
        ("nowhere", False, 404, "not_found_error"),
        ("/twilio/wrong", False, 403, "permission_error"),
        ("/twilio/wrong", True, 403, "permission_error"),
        ("/twilio/relay", True, 503, "server_error"),
    ],
)
async def test_who_may_not_call_is_told_why_before_the_upgrade(
    path: str, draining: bool, status: int, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    app, board = floor(script("Hi."))
    if draining:
        board.drain()
    async with dial(app, path) as phone:
        await asyncio.sleep(0)
    assert (phone.status, json.loads(phone.body)["error"]["type"]) == (status, kind)
    [line] = lines(caplog, "refusal")
    assert (line["status"], line["request"], line["client"]) == (status, "req_1", "127.0.0.1")
    assert "wrong" not in caplog.text
    assert opened(app) == {}


async def test_without_room_twilio_s_caller_is_told_and_twilio_hangs_up() -> None:
    app, _ = floor(script("Hi."), calls=1)
    async with dial(app, "/twilio/relay") as one:
        one.says(SETUP)
        async with dial(app, "/twilio/relay") as two:
            two.says({**SETUP, "callSid": "CA2"})
            two.says(HELLO)
            await asyncio.sleep(1)
            assert (two.status, two.code) == (101, None)
            assert [frame for _, frame in two.frames] == [
                token(BUSY, last=True),
                {"type": "end", "handoffData": '{"reasonCode":"end_call"}'},
            ]
            assert not app.has_room("twilio")
            assert app.has_room("retell"), "each desk has its own limit"
    assert app.has_room("twilio")


async def test_without_room_retell_s_caller_is_told_and_retell_hangs_up() -> None:
    app, _ = floor(script("Hi."), calls=1)
    async with dial(app, "/retell/1"), dial(app, "/retell/2") as two:
        await asyncio.sleep(1)
    [(_, frame)] = two.frames
    assert (frame["response_id"], frame["content"], frame["content_complete"]) == (0, BUSY, True)
    assert frame["end_call"]


async def test_a_platform_that_does_not_hang_up_is_hung_up_on() -> None:
    app, _ = floor(script("Hi."), calls=0)
    async with dial(app, "/twilio/relay") as phone:
        phone.says(SETUP)
        await asyncio.sleep(LEAVE - 1)
        assert phone.code is None
        await asyncio.sleep(2)
        assert phone.code == 1000


async def test_a_call_that_comes_back_takes_the_place_of_its_old_socket() -> None:
    agent = script(0.2, "One", 5, " two.")
    app, _ = floor(agent, ack=SILENT, calls=1)
    async with dial(app, "/twilio/relay") as old, dial(app, "/twilio/relay") as new:
        old.says(SETUP)
        old.says(HELLO)
        await asyncio.sleep(1)
        new.says(SETUP)
        await asyncio.sleep(0.1)
        assert (old.code, new.code) == (1012, None)
        assert agent.closed == [1.0]
        new.says(prompt("And?"))
        old.says(prompt("Nobody hears this."))
        await asyncio.sleep(0.5)
    assert [message.text for message in agent.turns[1].messages] == ["Hello?", "One", "And?"]
    assert len(agent.turns) == 2
    async with dial(app, "/retell/7") as old, dial(app, "/retell/7") as new:
        await asyncio.sleep(0.1)
        assert (old.code, new.code) == (1012, None)


async def test_only_so_many_calls_are_turned_away_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls_floor, "MAX_LEAVING", 1)
    app, _ = floor(script("Hi."), calls=0)
    async with dial(app, "/retell/1") as one, dial(app, "/retell/2") as two:
        await asyncio.sleep(1)
    assert (one.status, two.status) == (101, 429)


async def test_whoever_is_turned_away_and_gone_already_harms_nobody() -> None:
    async def send(message: dict[str, Any]) -> None:
        if message["type"] != "websocket.accept":
            raise ClientDisconnected

    app, _ = floor(script("Hi."), calls=0)
    phone = Phone()
    phone.inbox.put_nowait({"type": "websocket.connect"})
    await app(CALLING, phone.inbox.get, send)
    assert opened(app) == {}


async def test_the_house_has_a_limit_for_all_desks_together() -> None:
    app, _ = floor(script("Hi."), most=1)
    async with dial(app, "/twilio/relay") as one:
        one.says(SETUP)
        await asyncio.sleep(0)
        assert not app.has_room("retell")
        async with dial(app, "/retell/2") as two:
            await asyncio.sleep(0)
        assert two.frames[0][1]["content"] == BUSY
    assert app.has_room("retell")


async def test_a_socket_that_does_not_say_which_call_it_is_is_closed() -> None:
    app, _ = floor(script("Hi."))
    async with dial(app, "/twilio/relay") as silent, dial(app, "/twilio/relay") as named:
        named.says(SETUP)
        await asyncio.sleep(SETUP_WITHIN - 0.1)
        assert silent.code is None
        await asyncio.sleep(1)
        assert (silent.code, named.code) == (1008, None)
    assert opened(app) == {"twilio": 0}


async def test_a_call_whose_path_names_it_need_not_say_anything() -> None:
    app, _ = floor(script("Hi."))
    async with dial(app, "/retell/1") as phone:
        await asyncio.sleep(SETUP_WITHIN + 1)
        assert phone.code is None


async def test_a_call_that_is_not_believed_is_closed_and_never_served() -> None:
    agent = script("Hi.")
    app, board = floor(agent)
    async with dial(app, "/twilio/relay") as phone:
        phone.says({**SETUP, "callSid": "CAfalse"})
        phone.says(HELLO)
        await asyncio.sleep(1)
        assert phone.code == 1008
    assert (phone.frames, agent.turns, len(board.calls)) == ([], [], 0)


async def test_a_call_that_we_know_is_not_believed_for_that() -> None:
    app, board = floor(script("Hi."), ack=SILENT)
    board.calls.get(app._id(app.endpoints["twilio"].profile, "CAfalse"), 0.0)
    async with dial(app, "/twilio/relay") as phone:
        phone.says({**SETUP, "callSid": "CAfalse"})
        phone.says(HELLO)
        await asyncio.sleep(1)
        assert phone.code == 1008
    assert phone.frames == []


async def test_a_call_that_ended_is_forgotten_and_its_turn_stopped() -> None:
    agent = script(1, "Hi.")
    app, board = floor(agent, ack=SILENT)
    async with dial(app, "/twilio/relay") as phone:
        phone.says(SETUP)
        phone.says(HELLO)
        await asyncio.sleep(0.5)
        assert len(board.calls) == 1
        app.call_ended("twilio", "CA1")
        await asyncio.sleep(0.1)
        assert (agent.closed, len(board.calls), len(board.runs)) == ([0.5], 0, 0)
        app.call_ended("twilio", "CA1")
        app.call_ended("retell", "nobody")
    assert len(board.calls) == 0


async def test_hanging_up_closes_idle_calls_at_once_and_others_after_their_sentence() -> None:
    app, _ = floor(script(1, "Hi."), ack=SILENT)
    async with dial(app, "/twilio/relay") as idle, dial(app, "/retell/2") as talking:
        idle.says(SETUP)
        talking.says(required(1, "Hello?"))
        await asyncio.sleep(0.5)
        app.close_all()
        await asyncio.sleep(0.1)
        assert (idle.code, talking.code) == (1012, None)
        await asyncio.sleep(1)
        assert talking.code == 1012
    assert talking.frames[-1][1]["content"] == "Hi."


async def test_a_call_is_written_down_when_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    app, _ = floor(script(0.2, "One", 0.2, " two."), ack=SILENT)
    async with dial(app, "/twilio/relay") as phone:
        phone.says(SETUP)
        phone.says(HELLO)
        await asyncio.sleep(0.3)
        assert opened(app) == {"twilio": 1}
        phone.says({"type": "interrupt", "utteranceUntilInterrupt": "One"})
        phone.says(prompt("Sorry?"))
        await asyncio.sleep(1)
    [line] = lines(caplog, "call")
    call = line.pop("call")
    assert line == {
        "event": "call",
        "platform": "twilio",
        "agent": "desk",
        "name": "CA1",
        "seconds": 1.3,
        "turns": 2,
        "interruptions": 1,
        "gap_ms": 200.0,
    }
    assert call == app._id(app.endpoints["twilio"].profile, "CA1")
    assert "Sorry?" not in caplog.text
    assert opened(app) == {"twilio": 0}
    [ended] = [s for s in app.engine.turn_log.metrics.calls.collect()[0].samples if s.name.endswith("_total")]
    assert (ended.labels, ended.value) == ({"platform": "twilio"}, 1)


async def test_nothing_of_a_call_stays_when_its_socket_is_gone() -> None:
    agent = script(0.1, "Hi", 60, " there.")
    app, board = floor(agent, turns=3)
    for number in range(5):
        async with dial(app, f"/retell/{number}") as phone:
            phone.says(required(1, "Hello?"))
            await asyncio.sleep(0.5)
    await asyncio.sleep(0)
    assert (len(agent.closed), len(board.runs), app.engine.rate_limiter.running_turns) == (5, 0, 0)
    assert app.sessions == {"twilio": set(), "retell": set()}
    assert len(asyncio.all_tasks()) == 1


@pytest.mark.parametrize("refusal", [ClientDisconnected, OSError, ConnectionResetError])
async def test_a_socket_that_takes_nothing_any_more_ends_when_its_reader_hears_of_it(
    refusal: type[OSError], caplog: pytest.LogCaptureFixture
) -> None:
    async def lost(message: Any) -> None:
        raise refusal

    agent = script(0.1, "Hi", 60, " there.")
    app, board = floor(agent, ack=SILENT)
    async with dial(app, "/twilio/relay") as phone:
        phone.says(SETUP)
        phone.says(HELLO)
        await asyncio.sleep(0.05)
        side = asyncio.all_tasks()
        phone_send(app, lost)
        await asyncio.sleep(1)
    await asyncio.sleep(0)
    assert len(side) > len(asyncio.all_tasks()) == 1
    assert (phone.frames, agent.closed, len(board.runs), app.engine.rate_limiter.running_turns) == (
        [],
        [1.05],
        0,
        0,
    )
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def phone_send(app: CallServer, send: Any) -> None:
    """From now on the one call's frames go there."""
    [talk] = app.sessions["twilio"]
    talk.send_queue.send = send


async def test_a_mistake_while_speaking_ends_the_call_and_not_the_gateway(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(self: RelayTurn) -> bytes:
        raise ValueError("a mistake")

    monkeypatch.setattr(RelayTurn, "drain", broken)
    app, board = floor(script(0.1, "Hi."), ack=SILENT)
    async with dial(app, "/twilio/relay") as phone:
        phone.says(SETUP)
        phone.says(HELLO)
        await asyncio.sleep(1)
        assert phone.code == 1011
    assert (len(board.runs), app.engine.rate_limiter.running_turns) == (0, 0)
    assert "a mistake" in caplog.text


async def test_a_call_that_is_cut_off_by_the_server_leaves_nothing_either() -> None:
    agent = script(60, "Late.")
    app, board = floor(agent)
    phone = Phone()
    phone.inbox.put_nowait({"type": "websocket.connect"})
    side = asyncio.ensure_future(app(CALLING, phone.inbox.get, phone.send))
    phone.says(required(1, "Hello?"))
    await asyncio.sleep(1)
    side.cancel()
    await asyncio.sleep(0.1)
    assert side.cancelled()
    assert (agent.closed, len(board.runs), app.engine.rate_limiter.running_turns) == ([1.0], 0, 0)


async def test_what_the_platform_knows_of_a_call_reaches_the_agent() -> None:
    agent = script("Hi.")
    app, _ = floor(agent)
    facts = {**SETUP, "from": "+15550100", "customParameters": {"plan": "gold"}}
    async with dial(app, "/twilio/relay") as phone:
        phone.says(facts)
        phone.says(HELLO)
        await asyncio.sleep(0.1)
    async with dial(app, "/retell/1") as phone:
        phone.says(required(1, "Hello?"))
        phone.says({"interaction_type": "call_details", "call": {"call_id": "1", "metadata": {"a": 1}}})
        await asyncio.sleep(0.1)
        phone.says(required(2, "Hello?", "Hi.", "Well?"))
        await asyncio.sleep(0.1)
    assert [turn.extra for turn in agent.turns] == [
        {"call": facts},
        {},
        {"call": {"call_id": "1", "metadata": {"a": 1}}},
    ]


def test_uvicorn_s_word_for_a_client_that_is_gone_is_an_os_error() -> None:
    assert issubclass(ClientDisconnected, OSError)


async def test_frames_of_both_kinds_reach_the_codec(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str | bytes] = []
    monkeypatch.setattr(CallSession, "receive", lambda self, frame: taken.append(frame))
    app, _ = floor(script("Hi."))
    async with dial(app, "/retell/1") as phone:
        phone.says("")
        phone.says(b"")
        phone.says(b"\0")
        phone.says("{}")
        await asyncio.sleep(0.1)
    assert taken == ["", b"", b"\0", "{}"]
