"""The real agents behave as the adapters expect: asked directly, by their own protocols."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from tests.real.direct import (
    auth_frame,
    connect_socket,
    durable_event,
    execution_status,
    http_client,
    is_delta,
    open_conversation,
    start_run,
    wait_until_left,
)
from tests.real.model import FILLER, FakeModel
from tests.real.servers import AgentServer, missing_reason, serve_hermes, serve_openhands
from tests.real.setup import HERMES, OPENHANDS

pytestmark = pytest.mark.wire


@pytest.fixture(scope="module")
def model() -> Iterator[FakeModel]:
    with FakeModel() as model:
        yield model


@pytest.fixture(scope="module")
def openhands_server(model: FakeModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentServer]:
    """An OpenHands server that runs two conversations at a time."""
    if missing_reason(OPENHANDS):
        pytest.skip(missing_reason(OPENHANDS))
    folder = tmp_path_factory.mktemp("openhands")
    with serve_openhands(folder, model.url, OH_MAX_CONCURRENT_RUNS="2") as server:
        yield server


@pytest.fixture(scope="module")
def hermes_server(model: FakeModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentServer]:
    """A Hermes server."""
    if missing_reason(HERMES):
        pytest.skip(missing_reason(HERMES))
    with serve_hermes(tmp_path_factory.mktemp("hermes"), model.url) as server:
        yield server


async def test_openhands_streams_the_text_of_its_model(
    openhands_server: AgentServer, model: FakeModel
) -> None:
    async with open_conversation(openhands_server) as conversation:
        assert await conversation.ask("Hello [words=5]") == "finished"
        assert conversation.text == "word0 word1 word2 word3 word4 "
        assert len([frame for frame in conversation.frames if is_delta(frame)]) == 5
        (started,) = [frame for frame in conversation.frames if frame["type"] == "item_started"]
        assert conversation.events("MessageEvent")[-1]["id"] == started["item_id"]
        assert model.requests[-1].body["stream"] is True
        assert [tool["function"]["name"] for tool in model.requests[-1].body["tools"]] == ["terminal"]


async def test_openhands_runs_a_tool_between_texts(openhands_server: AgentServer) -> None:
    async with open_conversation(openhands_server) as conversation:
        assert await conversation.ask("Look [run echo found] [words=2]") == "finished"
        assert conversation.text == FILLER + "word0 word1 "
        (action,) = conversation.events("ActionEvent")
        (seen,) = conversation.events("ObservationEvent")
        assert action["thought"][0]["text"] == FILLER
        assert action["tool_call"]["name"] == "terminal"
        assert (seen["action_id"], seen["observation"]["exit_code"]) == (action["id"], 0)


async def test_an_interrupt_stops_openhands_and_its_model_and_the_partial_answer_is_forgotten(
    openhands_server: AgentServer, model: FakeModel
) -> None:
    async with open_conversation(openhands_server) as conversation:
        await conversation.say("Talk [every=0.05 words=400]")
        await conversation.until(is_delta)
        request = model.requests[-1]
        assert (await conversation.post("interrupt")).json() == {"success": True}
        aborted = await conversation.until(lambda frame: frame["type"] == "item_aborted")
        assert aborted["reason"] == "cancelled"
        assert await conversation.end() == "paused"
        await wait_until_left(request)
        assert await conversation.ask("Go on [words=1]") == "finished"
        assert [message["role"] for message in model.requests[-1].messages] == ["system", "user"]
        assert [part["text"] for part in model.requests[-1].messages[1]["content"]] == [
            "Talk [every=0.05 words=400]",
            "Go on [words=1]",
        ]


async def test_an_interrupt_stops_a_tool_of_openhands(openhands_server: AgentServer) -> None:
    async with open_conversation(openhands_server) as conversation:
        await conversation.say("Work [run sleep 60]")
        await conversation.until(lambda frame: durable_event(frame).get("kind") == "ActionEvent")
        assert (await conversation.post("interrupt")).status_code == 200
        assert await conversation.end() == "paused"
        await conversation.until(lambda frame: durable_event(frame).get("kind") == "InterruptEvent")
        assert len(conversation.events("AgentErrorEvent")) == 1


async def test_openhands_waits_for_a_yes_and_does_nothing_after_a_no(
    openhands_server: AgentServer, model: FakeModel
) -> None:
    proof = openhands_server.folder / "workspace" / "denied"
    async with open_conversation(
        openhands_server, confirmation_policy={"kind": "AlwaysConfirm"}
    ) as conversation:
        assert await conversation.ask(f"Do it [run touch {proof}] [words=2]") == "waiting_for_confirmation"
        no = {"accept": False, "reason": "The caller said no."}
        assert (await conversation.post("events/respond_to_confirmation", no)).json() == {"success": True}
        await conversation.until(lambda frame: durable_event(frame).get("kind") == "UserRejectObservation")
        assert (await conversation.post("run")).json() == {"success": True}
        assert await conversation.end() == "finished"
        assert not proof.exists()
        assert "The caller said no." in str(model.requests[-1].messages[-1]["content"])


async def test_openhands_takes_any_new_message_for_a_yes(openhands_server: AgentServer) -> None:
    proof = openhands_server.folder / "workspace" / "allowed"
    async with open_conversation(
        openhands_server, confirmation_policy={"kind": "AlwaysConfirm"}
    ) as conversation:
        assert await conversation.ask(f"Do it [run touch {proof}]") == "waiting_for_confirmation"
        assert await conversation.ask("No! [words=1]") == "finished"
        assert proof.exists()


async def test_openhands_reports_the_error_of_its_model(openhands_server: AgentServer) -> None:
    async with open_conversation(openhands_server) as conversation:
        assert await conversation.ask("Fail [fail 400]") == "error"
        failed = await conversation.until(
            lambda frame: durable_event(frame).get("kind") == "ConversationErrorEvent"
        )
        assert durable_event(failed)["code"] == "LLMBadRequestError"
        assert await conversation.ask("Once more [words=1]") == "finished"


async def test_openhands_keeps_a_message_at_its_run_limit(openhands_server: AgentServer) -> None:
    async with (
        open_conversation(openhands_server) as first,
        open_conversation(openhands_server) as second,
        open_conversation(openhands_server) as third,
    ):
        for busy in (first, second):
            await busy.say("Wait [first=5 words=1]")
            await busy.until(lambda frame: execution_status(frame) == "running")
        await third.say("Me too [words=1]")
        refused = await third.until(lambda frame: frame["type"] == "error")
        assert refused["code"] == "ConversationRunLimitExceeded"
        assert (await third.post("run")).status_code == 429
        await first.post("interrupt")
        await first.end()
        assert (await third.post("run")).json() == {"success": True}
        assert await third.end() == "finished"
        assert third.text == "word0 "


async def test_openhands_refuses_wrong_keys(openhands_server: AgentServer) -> None:
    for key, code in (("wrong", 4001), (openhands_server.key, 4004)):
        async with connect_socket(openhands_server, str(uuid.uuid4())) as connection:
            await connection.send(auth_frame(key))
            with pytest.raises(ConnectionClosedError) as closed:
                await connection.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == code
    with pytest.raises(InvalidStatus) as refused:
        await connect_socket(openhands_server, str(uuid.uuid4()), **{"X-Session-API-Key": "wrong"})
    assert refused.value.response.status_code == 403


async def test_hermes_streams_the_text_of_its_model(hermes_server: AgentServer, model: FakeModel) -> None:
    history = [{"role": "user", "content": "I am Ada."}, {"role": "assistant", "content": "Hello Ada."}]
    text = "Hello [words=5]"
    async with start_run(hermes_server, text, instructions="Be brief.", conversation_history=history) as run:
        assert await run.follow() == "run.completed"
    assert run.text == "word0 word1 word2 word3 word4 "
    system, *rest = model.requests[-1].messages
    assert str(system["content"]).endswith("Be brief.")
    assert rest == [*history, {"role": "user", "content": text}]


async def test_hermes_runs_a_tool_between_texts(hermes_server: AgentServer) -> None:
    async with start_run(hermes_server, "Look [run echo found] [words=2]") as run:
        assert await run.follow() == "run.completed"
    tools = [(event["event"], event["tool"]) for event in run.events if "tool" in event]
    assert tools == [("tool.started", "terminal"), ("tool.completed", "terminal")]
    assert run.text == FILLER + "\n\nword0 word1 "


async def test_a_stop_ends_a_run_of_hermes_and_its_model(
    hermes_server: AgentServer, model: FakeModel
) -> None:
    async with start_run(hermes_server, "Talk [every=0.05 words=400]") as run:
        assert await run.follow("message.delta", "stop") == "run.cancelled"
        assert run.responses[0].json()["status"] == "stopping"
        await wait_until_left(model.requests[-1])
        assert (await run.http.get(run.path)).json()["status"] == "cancelled"


async def test_a_stop_ends_a_tool_of_hermes(hermes_server: AgentServer) -> None:
    async with start_run(hermes_server, "Work [run sleep 60]") as run:
        assert await run.follow("tool.started", "stop") == "run.cancelled"


async def test_hermes_asks_before_it_deletes_and_continues_after_a_denial(
    hermes_server: AgentServer, tmp_path: Path
) -> None:
    note = tmp_path / "note"
    note.write_text("Keep me.", "utf-8")
    async with start_run(hermes_server, f"Delete [run rm -rf {tmp_path}] [words=2]") as run:
        assert await run.follow("approval.request", "approval", {"choice": "deny"}) == "run.completed"
    (request,) = [event for event in run.events if event["event"] == "approval.request"]
    assert request["choices"] == ["once", "session", "always", "deny"]
    assert note.read_text("utf-8") == "Keep me."


async def test_hermes_reports_the_error_of_its_model(hermes_server: AgentServer) -> None:
    async with start_run(hermes_server, "Fail [fail 400]") as run:
        assert await run.follow() == "run.failed"
    assert run.events[-1]["error"] == "HTTP 400: The model broke down."


async def test_hermes_refuses_wrong_keys_and_unknown_runs(hermes_server: AgentServer) -> None:
    async with http_client(hermes_server, Authorization="Bearer wrong") as http:
        assert (await http.get("/v1/models")).status_code == 401
    async with http_client(hermes_server, Authorization=f"Bearer {hermes_server.key}") as http:
        unknown = await http.post("/v1/runs/nothing/stop")
        assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "run_not_found")
        assert [entry["id"] for entry in (await http.get("/v1/models")).json()["data"]] == ["hermes-agent"]
