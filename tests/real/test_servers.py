"""The real agents come up and do what our adapters will build on: asked directly, by their own protocols."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from tests.real.direct import auth, client, conversation, durable, is_delta, left, run, socket, state
from tests.real.model import FILLER, Model
from tests.real.servers import Server, hermes, missing, openhands
from tests.real.setup import HERMES, OPENHANDS

pytestmark = pytest.mark.wire


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    with Model() as model:
        yield model


@pytest.fixture(scope="module")
def office(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An OpenHands that works on two conversations at a time."""
    if missing(OPENHANDS):
        pytest.skip(missing(OPENHANDS))
    folder = tmp_path_factory.mktemp("openhands")
    with openhands(folder, model.url, OH_MAX_CONCURRENT_RUNS="2") as server:
        yield server


@pytest.fixture(scope="module")
def messenger(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Hermes."""
    if missing(HERMES):
        pytest.skip(missing(HERMES))
    with hermes(tmp_path_factory.mktemp("hermes"), model.url) as server:
        yield server


async def test_openhands_streams_the_text_of_its_model(office: Server, model: Model) -> None:
    async with conversation(office) as one:
        assert await one.ask("Hello [words=5]") == "finished"
        assert one.said == "word0 word1 word2 word3 word4 "
        assert len([frame for frame in one.frames if is_delta(frame)]) == 5
        (started,) = [frame for frame in one.frames if frame["type"] == "item_started"]
        assert one.events("MessageEvent")[-1]["id"] == started["item_id"]
        assert model.asked[-1].body["stream"] is True
        assert [tool["function"]["name"] for tool in model.asked[-1].body["tools"]] == ["terminal"]


async def test_openhands_runs_a_tool_between_texts(office: Server) -> None:
    async with conversation(office) as one:
        assert await one.ask("Look [run echo found] [words=2]") == "finished"
        assert one.said == FILLER + "word0 word1 "
        (action,) = one.events("ActionEvent")
        (seen,) = one.events("ObservationEvent")
        assert action["thought"][0]["text"] == FILLER
        assert action["tool_call"]["name"] == "terminal"
        assert (seen["action_id"], seen["observation"]["exit_code"]) == (action["id"], 0)


async def test_an_interrupt_stops_openhands_and_its_model_and_the_partial_answer_is_forgotten(
    office: Server, model: Model
) -> None:
    async with conversation(office) as one:
        await one.say("Talk [every=0.05 words=400]")
        await one.until(is_delta)
        asked = model.asked[-1]
        assert (await one.post("interrupt")).json() == {"success": True}
        aborted = await one.until(lambda frame: frame["type"] == "item_aborted")
        assert aborted["reason"] == "cancelled"
        assert await one.end() == "paused"
        await left(asked)
        assert await one.ask("Go on [words=1]") == "finished"
        assert [message["role"] for message in model.asked[-1].messages] == ["system", "user"]
        assert [part["text"] for part in model.asked[-1].messages[1]["content"]] == [
            "Talk [every=0.05 words=400]",
            "Go on [words=1]",
        ]


async def test_an_interrupt_stops_a_tool_of_openhands(office: Server) -> None:
    async with conversation(office) as one:
        await one.say("Work [run sleep 60]")
        await one.until(lambda frame: durable(frame).get("kind") == "ActionEvent")
        assert (await one.post("interrupt")).status_code == 200
        assert await one.end() == "paused"
        await one.until(lambda frame: durable(frame).get("kind") == "InterruptEvent")
        assert len(one.events("AgentErrorEvent")) == 1


async def test_openhands_waits_for_a_yes_and_does_nothing_after_a_no(office: Server, model: Model) -> None:
    proof = office.folder / "workspace" / "denied"
    async with conversation(office, confirmation_policy={"kind": "AlwaysConfirm"}) as one:
        assert await one.ask(f"Do it [run touch {proof}] [words=2]") == "waiting_for_confirmation"
        no = {"accept": False, "reason": "The caller said no."}
        assert (await one.post("events/respond_to_confirmation", no)).json() == {"success": True}
        await one.until(lambda frame: durable(frame).get("kind") == "UserRejectObservation")
        assert (await one.post("run")).json() == {"success": True}
        assert await one.end() == "finished"
        assert not proof.exists()
        assert "The caller said no." in str(model.asked[-1].messages[-1]["content"])


async def test_openhands_takes_any_new_message_for_a_yes(office: Server) -> None:
    proof = office.folder / "workspace" / "allowed"
    async with conversation(office, confirmation_policy={"kind": "AlwaysConfirm"}) as one:
        assert await one.ask(f"Do it [run touch {proof}]") == "waiting_for_confirmation"
        assert await one.ask("No! [words=1]") == "finished"
        assert proof.exists()


async def test_openhands_reports_the_error_of_its_model(office: Server) -> None:
    async with conversation(office) as one:
        assert await one.ask("Fail [fail 400]") == "error"
        failed = await one.until(lambda frame: durable(frame).get("kind") == "ConversationErrorEvent")
        assert durable(failed)["code"] == "LLMBadRequestError"
        assert await one.ask("Once more [words=1]") == "finished"


async def test_openhands_keeps_a_message_at_its_run_limit(office: Server) -> None:
    async with conversation(office) as one, conversation(office) as two, conversation(office) as three:
        for busy in (one, two):
            await busy.say("Wait [first=5 words=1]")
            await busy.until(lambda frame: state(frame) == "running")
        await three.say("Me too [words=1]")
        refused = await three.until(lambda frame: frame["type"] == "error")
        assert refused["code"] == "ConversationRunLimitExceeded"
        assert (await three.post("run")).status_code == 429
        await one.post("interrupt")
        await one.end()
        assert (await three.post("run")).json() == {"success": True}
        assert await three.end() == "finished"
        assert three.said == "word0 "


async def test_openhands_refuses_wrong_keys(office: Server) -> None:
    for key, code in (("wrong", 4001), (office.key, 4004)):
        async with socket(office, str(uuid.uuid4())) as connection:
            await connection.send(auth(key))
            with pytest.raises(ConnectionClosedError) as closed:
                await connection.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == code
    with pytest.raises(InvalidStatus) as refused:
        await socket(office, str(uuid.uuid4()), **{"X-Session-API-Key": "wrong"})
    assert refused.value.response.status_code == 403


async def test_hermes_streams_the_text_of_its_model(messenger: Server, model: Model) -> None:
    history = [{"role": "user", "content": "I am Ada."}, {"role": "assistant", "content": "Hello Ada."}]
    said = "Hello [words=5]"
    async with run(messenger, said, instructions="Be brief.", conversation_history=history) as one:
        assert await one.follow() == "run.completed"
    assert one.said == "word0 word1 word2 word3 word4 "
    system, *rest = model.asked[-1].messages
    assert str(system["content"]).endswith("Be brief.")
    assert rest == [*history, {"role": "user", "content": said}]


async def test_hermes_runs_a_tool_between_texts(messenger: Server) -> None:
    async with run(messenger, "Look [run echo found] [words=2]") as one:
        assert await one.follow() == "run.completed"
    tools = [(event["event"], event["tool"]) for event in one.events if "tool" in event]
    assert tools == [("tool.started", "terminal"), ("tool.completed", "terminal")]
    assert one.said == FILLER + "\n\nword0 word1 "


async def test_a_stop_ends_a_run_of_hermes_and_its_model(messenger: Server, model: Model) -> None:
    async with run(messenger, "Talk [every=0.05 words=400]") as one:
        assert await one.follow("message.delta", "stop") == "run.cancelled"
        assert one.replies[0].json()["status"] == "stopping"
        await left(model.asked[-1])
        assert (await one.http.get(one.path)).json()["status"] == "cancelled"


async def test_a_stop_ends_a_tool_of_hermes(messenger: Server) -> None:
    async with run(messenger, "Work [run sleep 60]") as one:
        assert await one.follow("tool.started", "stop") == "run.cancelled"


async def test_hermes_asks_before_it_deletes_and_continues_after_a_denial(
    messenger: Server, tmp_path: Path
) -> None:
    note = tmp_path / "note"
    note.write_text("Keep me.", "utf-8")
    async with run(messenger, f"Delete [run rm -rf {tmp_path}] [words=2]") as one:
        assert await one.follow("approval.request", "approval", {"choice": "deny"}) == "run.completed"
    (asked,) = [event for event in one.events if event["event"] == "approval.request"]
    assert asked["choices"] == ["once", "session", "always", "deny"]
    assert note.read_text("utf-8") == "Keep me."


async def test_hermes_reports_the_error_of_its_model(messenger: Server) -> None:
    async with run(messenger, "Fail [fail 400]") as one:
        assert await one.follow() == "run.failed"
    assert one.events[-1]["error"] == "HTTP 400: The model broke down."


async def test_hermes_refuses_wrong_keys_and_unknown_runs(messenger: Server) -> None:
    async with client(messenger, Authorization="Bearer wrong") as http:
        assert (await http.get("/v1/models")).status_code == 401
    async with client(messenger, Authorization=f"Bearer {messenger.key}") as http:
        gone = await http.post("/v1/runs/nothing/stop")
        assert (gone.status_code, gone.json()["error"]["code"]) == (404, "run_not_found")
        assert [entry["id"] for entry in (await http.get("/v1/models")).json()["data"]] == ["hermes-agent"]
