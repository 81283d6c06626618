"""The OpenHands agent against a fake server: turns, confirmations, run limits and sessions."""

from __future__ import annotations

import pytest

from tests.agents.openhands.fake_server import (
    CALL,
    KEY,
    PATH,
    SECRET,
    FakeOpenHandsServer,
    Step,
    action_event,
    answer_steps,
    collect_events,
    read_until,
    served_agent,
    streamed_frames,
    turn,
    usage_update,
)
from voicegw.agents.openhands.agent import OpenHandsAgent
from voicegw.errors import AgentBusy, AgentError, AgentUnavailable
from voicegw.events import Activity, Event, Message, Turn, Usage

pytestmark = pytest.mark.wire

CONFIRM = f"POST {PATH}/events/respond_to_confirmation"
RISKY: list[Step] = [action_event("Delete the file", "Hm."), "waiting_for_confirmation"]
QUESTION_EVENTS: list[Event] = ["Hm.", Activity("Delete the file"), "\n\nDelete the file: Shall I go ahead?"]


async def test_a_call_gets_a_conversation_of_its_id_with_a_lean_agent() -> None:
    async with FakeOpenHandsServer(answer_steps("It ", "is."), key=KEY) as server:
        agent = OpenHandsAgent(f"{server.url}/", key=KEY, tools=("terminal",), workspace="/w", profile="good")
        assert await collect_events(agent, turn(system="Be brief.")) == ["It ", "is."]
        assert server.received_texts == ["Hi"]
        assert server.auth_frames == [{"type": "auth", "session_api_key": KEY}]
        (body,) = server.bodies_of("POST /api/conversations")
        assert body["conversation_id"] == CALL
        assert body["agent"]["llm"] == {
            "model": "good",
            "api_key": SECRET,
            "stream": True,
            "num_retries": 2,
            "retry_min_wait": 0,
            "retry_max_wait": 1,
            "usage_id": "voice",
        }
        assert body["agent"]["agent_context"] == {"system_message_suffix": "Be brief."}
        (head,) = server.bodies_of("GET /api/profiles/good")
        assert "\r\nx-expose-secrets: encrypted\r\n" in head
        assert f"\r\nx-session-api-key: {KEY}\r\n" in head
        assert server.opened_sockets == [f"/sockets/session/{CALL}"]
        await agent.call_ended(CALL)
        assert server.requests[-1] == f"DELETE {PATH}"
        await agent.aclose()


async def test_warming_a_call_creates_its_conversation_before_the_first_turn() -> None:
    async with served_agent(answer_steps("a"), answer_steps("b")) as (server, agent):
        await agent.warm()
        assert agent.models == ["openhands_fast", "openhands_good"]
        await agent.warm(CALL)
        before = len(server.requests)
        assert await collect_events(agent, turn(system="Be brief.")) == ["a"]
        assert await collect_events(agent, turn("Hi", "a", "And?", system="Be brief.")) == ["b"]
        assert len(server.requests) == before
        first, second = server.received_texts
        assert first.startswith("(Instructions for this call")
        assert first.endswith("\nBe brief.\n)\n\nHi")
        assert second == "And?"


async def test_without_tools_the_agent_profile_of_the_server_answers() -> None:
    finish = action_event("", id="f", action={"kind": "FinishAction", "message": "All done."})
    async with served_agent([finish, "finished"], tools=None, confirm="never") as (server, agent):
        assert await collect_events(agent, turn(system="Be brief.")) == ["All done."]
        (body,) = server.bodies_of("POST /api/conversations")
        assert body["agent_profile_id"] == "a1"
        assert body["agent_launch_additions"] == {
            "llm_profile_ref": "fast",
            "system_message_suffix_append": "Be brief.",
        }
        assert body["confirmation_policy"] == {"kind": "NeverConfirm"}


async def test_instructions_too_long_for_the_system_suffix_are_sent_as_text() -> None:
    async with served_agent(answer_steps("a")) as (server, agent):
        await collect_events(agent, turn(system="x" * 40_000))
        assert "x" * 40_000 in server.received_texts[0]


async def test_actions_are_activities_and_usage_is_counted_per_turn() -> None:
    first = [
        *streamed_frames("Let me see.", item="a"),
        action_event("Look it up.", "Let me see."),
        usage_update(11, 7),
    ]
    one: list[Step] = [*first, *answer_steps("Nine.")]
    two: list[Step] = [usage_update(30, 10), *answer_steps("Ten.")]
    async with served_agent(one, two) as (_, agent):
        expected = ["Let me see.", Activity("Look it up"), "\n\nNine.", Usage(11, 7)]
        assert await collect_events(agent, turn()) == expected
        assert await collect_events(agent, turn("Hi", "Nine.", "And?")) == ["Ten.", Usage(19, 3)]


async def test_images_are_sent_with_the_message() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
    async with served_agent(answer_steps("a")) as (server, agent):
        await collect_events(agent, Turn("t", (Message("user", "Look", (picture,)),), call=CALL))
        assert server.received_contents[0][1] == {"type": "image", "image_urls": ["data:image/png;base64,AA"]}


async def test_a_turn_without_a_call_gets_a_temporary_conversation_with_the_history() -> None:
    async with served_agent(answer_steps("a"), keep_conversations=True) as (server, agent):
        assert await collect_events(agent, turn("Hi", "Hello.", "Open?", call=None, system="Be brief.")) == [
            "a"
        ]
        assert server.received_texts[0].endswith("Caller: Hi\nYou: Hello.\n)\n\nOpen?")
        assert "Be brief." not in server.received_texts[0]
        assert server.conversations == {}


async def test_a_yes_confirms_the_pending_action() -> None:
    async with served_agent(RISKY, answer_steps("Done.")) as (server, agent):
        assert await collect_events(agent, turn()) == QUESTION_EVENTS
        assert await collect_events(agent, turn("Hi", "…", "Yes, please.")) == ["Done."]
        assert server.bodies_of(CONFIRM) == [{"accept": True}]
        assert server.received_texts == ["Hi"]


async def test_any_other_answer_rejects_the_action_and_is_sent() -> None:
    async with served_agent(RISKY, answer_steps("Fine.")) as (server, agent):
        await collect_events(agent, turn())
        assert await collect_events(agent, turn("Hi", "…", "Which file?")) == ["Fine."]
        assert server.bodies_of(CONFIRM) == [{"accept": False, "reason": "Which file?"}]
        assert server.received_texts == ["Hi", "Which file?"]


async def test_a_yes_before_the_action_was_heard_rejects_it() -> None:
    async with served_agent(RISKY, answer_steps("Fine."), RISKY, answer_steps("Done.")) as (server, agent):
        await collect_events(agent, turn())
        await collect_events(agent, turn("Hi", "Hm. Delete", "Yes.", heard="Hm. Delete"))
        assert server.bodies_of(CONFIRM) == [{"accept": False, "reason": "Yes."}]
        await collect_events(agent, turn("Hi", "…", "Yes.", "Fine.", "Again"))
        heard = "Hm. Delete the file: Shall"
        await collect_events(agent, turn("Hi", "…", "Yes.", "Fine.", "Again", heard, "Yes.", heard=heard))
        assert server.bodies_of(CONFIRM)[1:] == [{"accept": True}]


async def test_a_silent_caller_is_asked_again() -> None:
    async with served_agent(RISKY, answer_steps("Done.")) as (server, agent):
        await collect_events(agent, turn(language="de"))
        question = "Delete the file: Soll ich das tun?"
        assert await collect_events(agent, turn("Hi", question)) == [question]
        assert await collect_events(agent, turn("Hi", question, "Ja.")) == ["Done."]
        assert server.bodies_of(CONFIRM) == [{"accept": True}]


async def test_a_yes_refused_at_the_run_limit_can_be_repeated() -> None:
    async with served_agent(RISKY, answer_steps("Done.")) as (server, agent):
        await collect_events(agent, turn())
        server.answers["/respond_to_confirmation"] = 429, {"detail": "limit"}
        with pytest.raises(AgentBusy):
            await collect_events(agent, turn("Hi", "…", "Yes."))
        server.answers.clear()
        assert await collect_events(agent, turn("Hi", "…", "Yes.")) == ["Done."]


async def test_denied_actions_are_rejected_without_a_question() -> None:
    async with served_agent(RISKY, answer_steps("I may not."), confirm="deny") as (server, agent):
        said = await collect_events(agent, turn())
        assert said == ["Hm.", Activity("Delete the file"), "\n\nI may not."]
        (denied,) = server.bodies_of(CONFIRM)
        assert denied["accept"] is False
        assert server.bodies_of(f"{PATH}/run") == [{}]


async def test_an_agent_that_repeats_a_denied_action_fails_the_turn() -> None:
    async with served_agent(*[RISKY] * 6, confirm="deny") as (server, agent):
        with pytest.raises(AgentError, match="requests denied actions again and again"):
            await collect_events(agent, turn())
        assert [body["accept"] for body in server.bodies_of(CONFIRM)] == [False] * 6
        assert server.turns == []


async def test_a_yes_does_not_confirm_a_denied_action() -> None:
    async with served_agent(RISKY, answer_steps("Fine."), confirm="deny") as (server, agent):
        server.answers["/respond_to_confirmation"] = 500, {}
        with pytest.raises(AgentUnavailable):
            await collect_events(agent, turn())
        server.answers.clear()
        assert await collect_events(agent, turn("Hi", "Hm.", "Yes.")) == ["Fine."]
        assert server.bodies_of(CONFIRM)[1:] == [{"accept": False, "reason": "Yes."}]


async def test_a_message_kept_at_the_run_limit_is_not_sent_again() -> None:
    async with served_agent(answer_steps("a"), answer_steps("b")) as (server, agent):
        server.at_run_limit = True
        with pytest.raises(AgentBusy, match="as many conversations as it may"):
            await collect_events(agent, turn())
        server.at_run_limit = False
        assert await collect_events(agent, turn()) == ["a"]
        assert server.bodies_of(f"{PATH}/run") == [{}]
        assert await collect_events(agent, turn("Hi", "a", "And?")) == ["b"]
        assert server.received_texts == ["Hi", "And?"]


async def test_a_server_at_its_run_limit_stays_busy() -> None:
    async with served_agent(answer_steps("a")) as (server, agent):
        server.at_run_limit = True
        server.answers["/run"] = 429, {"detail": "limit"}
        for _ in range(2):
            with pytest.raises(AgentBusy):
                await collect_events(agent, turn())
        server.at_run_limit = False
        assert await collect_events(agent, turn("Hi", "Busy.", "Hello?")) == ["a"]
        assert server.received_texts == ["Hi", "Hello?"]


async def test_a_refused_conversation_at_the_limit_is_busy() -> None:
    async with served_agent() as (server, agent):
        server.answers["POST /api/conversations"] = 429, {"detail": "limit"}
        with pytest.raises(AgentBusy):
            await collect_events(agent, turn())


async def test_a_background_turn_of_a_busy_call_gets_its_own_conversation() -> None:
    async with served_agent([*streamed_frames("One "), 60.0], answer_steps("aside"), answer_steps("b")) as (
        server,
        agent,
    ):
        reply = agent.reply(turn())
        await read_until(reply, "One ")
        assert await collect_events(agent, turn("Hi", "One", "Title?", background=True)) == ["aside"]
        assert list(server.conversations) == [CALL]
        await reply.aclose()
        assert await collect_events(agent, turn("Hi", "One", "Go on")) == ["b"]


async def test_a_background_turn_does_not_count_as_a_message_of_the_caller() -> None:
    async with served_agent(answer_steps("a"), answer_steps("aside"), answer_steps("b")) as (server, agent):
        await collect_events(agent, turn())
        await collect_events(agent, turn("Hi", "a", "Title?", background=True))
        await collect_events(agent, turn("Hi", "a", "Go on"))
        assert server.received_texts == ["Hi", "Title?", "Go on"]


async def test_an_idle_conversation_gives_way_to_a_new_call() -> None:
    turns = (answer_steps("a"), answer_steps("b"), answer_steps("c"))
    async with served_agent(*turns, max_sessions=1) as (server, agent):
        for call, expected in (("c1", "a"), ("c2", "b"), ("c1", "c")):
            assert await collect_events(agent, turn(call=call)) == [expected]
    assert server.received_texts == ["Hi", "Hi", "Hi"]


async def test_a_turn_without_a_new_message_sends_the_silence_prompt() -> None:
    async with served_agent(answer_steps("a"), answer_steps("b")) as (server, agent):
        await collect_events(agent, turn())
        await collect_events(agent, turn("Hi", "a"))
        assert server.received_texts[1].startswith("(The caller has been silent")
