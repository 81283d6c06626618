"""OpenHands by its native API, turn by turn: what it is told, what it says, and whom it asks first."""

from __future__ import annotations

import pytest

from tests.agents.openhands.server_double import (
    CALL,
    KEY,
    PATH,
    SECRET,
    Hands,
    Step,
    action,
    begun,
    desk,
    events,
    open_words,
    stats,
    turn,
    words,
)
from voicegw.agents.openhands.agent import OpenHandsAgent
from voicegw.errors import AgentBusy, AgentError, AgentUnavailable
from voicegw.events import Activity, Event, Message, Turn, Usage

pytestmark = pytest.mark.wire

REPLY = f"POST {PATH}/events/respond_to_confirmation"
RISKY: list[Step] = [action("Delete the file", "Hm."), "waiting_for_confirmation"]
ASKED: list[Event] = ["Hm.", Activity("Delete the file"), "\n\nDelete the file: Shall I go ahead?"]


async def test_a_call_has_a_conversation_of_its_name_with_a_lean_agent() -> None:
    async with Hands(words("It ", "is."), key=KEY) as hands:
        agent = OpenHandsAgent(f"{hands.url}/", key=KEY, tools=("terminal",), workspace="/w", profile="good")
        assert await events(agent, turn(system="Be brief.")) == ["It ", "is."]
        assert hands.said == ["Hi"]
        assert hands.auth == [{"type": "auth", "session_api_key": KEY}]
        (order,) = hands.asked("POST /api/conversations")
        assert order["conversation_id"] == CALL
        assert order["agent"]["llm"] == {
            "model": "good",
            "api_key": SECRET,
            "stream": True,
            "num_retries": 2,
            "retry_min_wait": 0,
            "retry_max_wait": 1,
            "usage_id": "voice",
        }
        assert order["agent"]["agent_context"] == {"system_message_suffix": "Be brief."}
        (head,) = hands.asked("GET /api/profiles/good")
        assert "\r\nx-expose-secrets: encrypted\r\n" in head
        assert f"\r\nx-session-api-key: {KEY}\r\n" in head
        assert hands.opened == [f"/sockets/session/{CALL}"]
        await agent.call_ended(CALL)
        assert hands.requests[-1] == f"DELETE {PATH}"
        await agent.aclose()


async def test_a_call_that_opens_has_its_conversation_before_anybody_speaks() -> None:
    async with desk(words("a"), words("b")) as (hands, agent):
        await agent.warm()
        assert agent.models == ["openhands_fast", "openhands_good"]
        await agent.warm(CALL)
        before = len(hands.requests)
        assert await events(agent, turn(system="Be brief.")) == ["a"]
        assert await events(agent, turn("Hi", "a", "And?", system="Be brief.")) == ["b"]
        assert len(hands.requests) == before
        first, second = hands.said
        assert first.startswith("(Instructions for this call")
        assert first.endswith("\nBe brief.\n)\n\nHi")
        assert second == "And?"


async def test_without_tools_the_agent_profile_of_the_server_speaks() -> None:
    finish = action("", id="f", action={"kind": "FinishAction", "message": "All done."})
    async with desk([finish, "finished"], tools=None, confirm="never") as (hands, agent):
        assert await events(agent, turn(system="Be brief.")) == ["All done."]
        (order,) = hands.asked("POST /api/conversations")
        assert order["agent_profile_id"] == "a1"
        assert order["agent_launch_additions"] == {
            "llm_profile_ref": "fast",
            "system_message_suffix_append": "Be brief.",
        }
        assert order["confirmation_policy"] == {"kind": "NeverConfirm"}


async def test_instructions_that_are_too_long_to_begin_with_are_told() -> None:
    async with desk(words("a")) as (hands, agent):
        await events(agent, turn(system="x" * 40_000))
        assert "x" * 40_000 in hands.said[0]


async def test_tools_are_told_of_and_what_was_used_is_counted_by_turn() -> None:
    first = [*open_words("Let me see.", item="a"), action("Look it up.", "Let me see."), stats(11, 7)]
    one: list[Step] = [*first, *words("Nine.")]
    two: list[Step] = [stats(30, 10), *words("Ten.")]
    async with desk(one, two) as (_, agent):
        said = ["Let me see.", Activity("Look it up"), "\n\nNine.", Usage(11, 7)]
        assert await events(agent, turn()) == said
        assert await events(agent, turn("Hi", "Nine.", "And?")) == ["Ten.", Usage(19, 3)]


async def test_pictures_go_along() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
    async with desk(words("a")) as (hands, agent):
        await events(agent, Turn("t", (Message("user", "Look", (picture,)),), call=CALL))
        assert hands.contents[0][1] == {"type": "image", "image_urls": ["data:image/png;base64,AA"]}


async def test_a_turn_of_nobody_gets_a_conversation_that_is_told_everything_and_removed() -> None:
    async with desk(words("a"), keep=True) as (hands, agent):
        assert await events(agent, turn("Hi", "Hello.", "Open?", call=None, system="Be brief.")) == ["a"]
        assert hands.said[0].endswith("Caller: Hi\nYou: Hello.\n)\n\nOpen?")
        assert "Be brief." not in hands.said[0]
        assert hands.talks == {}


async def test_the_caller_is_asked_and_a_yes_lets_it_act() -> None:
    async with desk(RISKY, words("Done.")) as (hands, agent):
        assert await events(agent, turn()) == ASKED
        assert await events(agent, turn("Hi", "…", "Yes, please.")) == ["Done."]
        assert hands.asked(REPLY) == [{"accept": True}]
        assert hands.said == ["Hi"]


async def test_anything_but_a_yes_denies_it_and_is_said() -> None:
    async with desk(RISKY, words("Fine.")) as (hands, agent):
        await events(agent, turn())
        assert await events(agent, turn("Hi", "…", "Which file?")) == ["Fine."]
        assert hands.asked(REPLY) == [{"accept": False, "reason": "Which file?"}]
        assert hands.said == ["Hi", "Which file?"]


async def test_a_yes_to_what_was_not_heard_is_none() -> None:
    async with desk(RISKY, words("Fine."), RISKY, words("Done.")) as (hands, agent):
        await events(agent, turn())
        await events(agent, turn("Hi", "Hm. Delete", "Yes.", heard="Hm. Delete"))
        assert hands.asked(REPLY) == [{"accept": False, "reason": "Yes."}]
        await events(agent, turn("Hi", "…", "Yes.", "Fine.", "Again"))
        heard = "Hm. Delete the file: Shall"
        await events(agent, turn("Hi", "…", "Yes.", "Fine.", "Again", heard, "Yes.", heard=heard))
        assert hands.asked(REPLY)[1:] == [{"accept": True}]


async def test_a_caller_who_says_nothing_is_asked_again() -> None:
    async with desk(RISKY, words("Done.")) as (hands, agent):
        await events(agent, turn(language="de"))
        question = "Delete the file: Soll ich das tun?"
        assert await events(agent, turn("Hi", question)) == [question]
        assert await events(agent, turn("Hi", question, "Ja.")) == ["Done."]
        assert hands.asked(REPLY) == [{"accept": True}]


async def test_a_yes_for_which_there_is_no_room_can_be_said_again() -> None:
    async with desk(RISKY, words("Done.")) as (hands, agent):
        await events(agent, turn())
        hands.answers["/respond_to_confirmation"] = 429, {"detail": "limit"}
        with pytest.raises(AgentBusy):
            await events(agent, turn("Hi", "…", "Yes."))
        hands.answers.clear()
        assert await events(agent, turn("Hi", "…", "Yes.")) == ["Done."]


async def test_nobody_is_asked_where_it_is_denied() -> None:
    async with desk(RISKY, words("I may not."), confirm="deny") as (hands, agent):
        said = await events(agent, turn())
        assert said == ["Hm.", Activity("Delete the file"), "\n\nI may not."]
        (denied,) = hands.asked(REPLY)
        assert denied["accept"] is False
        assert hands.asked(f"{PATH}/run") == [{}]


async def test_an_agent_that_wants_it_again_and_again_is_stopped() -> None:
    async with desk(*[RISKY] * 6, confirm="deny") as (hands, agent):
        with pytest.raises(AgentError, match="again and again what is denied"):
            await events(agent, turn())
        assert [body["accept"] for body in hands.asked(REPLY)] == [False] * 6
        assert hands.turns == []


async def test_a_yes_means_nothing_where_it_is_denied() -> None:
    async with desk(RISKY, words("Fine."), confirm="deny") as (hands, agent):
        hands.answers["/respond_to_confirmation"] = 500, {}
        with pytest.raises(AgentUnavailable):
            await events(agent, turn())
        hands.answers.clear()
        assert await events(agent, turn("Hi", "Hm.", "Yes.")) == ["Fine."]
        assert hands.asked(REPLY)[1:] == [{"accept": False, "reason": "Yes."}]


async def test_words_that_were_kept_and_not_answered_are_not_said_again() -> None:
    async with desk(words("a"), words("b")) as (hands, agent):
        hands.full = True
        with pytest.raises(AgentBusy, match="as many conversations as it may"):
            await events(agent, turn())
        hands.full = False
        assert await events(agent, turn()) == ["a"]
        assert hands.asked(f"{PATH}/run") == [{}]
        assert await events(agent, turn("Hi", "a", "And?")) == ["b"]
        assert hands.said == ["Hi", "And?"]


async def test_a_server_without_room_is_busy_however_often_it_is_asked() -> None:
    async with desk(words("a")) as (hands, agent):
        hands.full = True
        hands.answers["/run"] = 429, {"detail": "limit"}
        for _ in range(2):
            with pytest.raises(AgentBusy):
                await events(agent, turn())
        hands.full = False
        assert await events(agent, turn("Hi", "Busy.", "Hello?")) == ["a"]
        assert hands.said == ["Hi", "Hello?"]


async def test_a_server_that_is_too_full_to_begin_is_busy() -> None:
    async with desk() as (hands, agent):
        hands.answers["POST /api/conversations"] = 429, {"detail": "limit"}
        with pytest.raises(AgentBusy):
            await events(agent, turn())


async def test_a_side_question_of_a_busy_call_has_its_own_conversation() -> None:
    async with desk([*open_words("One "), 60.0], words("aside"), words("b")) as (hands, agent):
        reply = agent.reply(turn())
        await begun(reply, "One ")
        assert await events(agent, turn("Hi", "One", "Title?", background=True)) == ["aside"]
        assert list(hands.talks) == [CALL]
        await reply.aclose()
        assert await events(agent, turn("Hi", "One", "Go on")) == ["b"]


async def test_a_side_question_is_no_part_of_what_the_caller_said() -> None:
    async with desk(words("a"), words("aside"), words("b")) as (hands, agent):
        await events(agent, turn())
        await events(agent, turn("Hi", "a", "Title?", background=True))
        await events(agent, turn("Hi", "a", "Go on"))
        assert hands.said == ["Hi", "Title?", "Go on"]


async def test_too_many_calls_are_refused() -> None:
    async with desk(words("a"), max_sessions=1) as (_, agent):
        await events(agent, turn())
        with pytest.raises(AgentBusy):
            await events(agent, turn(call=None))


async def test_a_silent_caller_is_brought_back() -> None:
    async with desk(words("a"), words("b")) as (hands, agent):
        await events(agent, turn())
        await events(agent, turn("Hi", "a"))
        assert hands.said[1].startswith("(The caller has been silent")
