"""A script by requests: what is posted, and when."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any

from tests.simulate.desk import Desk, play, refusing, script, states
from tests.support.gateway import gateway
from tests.support.script import Script as Agent
from tests.support.script import script as agent
from voicegw.events import Event, ToolCall, Turn
from voicegw.simulate.checks import evaluate_checks
from voicegw.simulate.http_platform import PlatformRequest
from voicegw.simulate.http_runner import MAX_TOOL_ROUNDS
from voicegw.simulate.platforms.elevenlabs import SimulatedElevenLabs
from voicegw.simulate.platforms.vapi import SimulatedVapi
from voicegw.simulate.recording import Violation


def history(request: PlatformRequest) -> list[tuple[str, Any]]:
    found = json.loads(request.body)["messages"]
    return [(message["role"], message["content"]) for message in found[1:]]


async def test_words_that_may_change_are_posted_and_dropped_after_a_moment() -> None:
    spy = agent(0.5, "Good day.")
    tape, posted = await play(gateway(spy), script({"say": "Hello there", "partial": ["Hello", "Hello th"]}))
    assert [history(request) for request in posted] == [
        [("user", "Hello")],
        [("user", "Hello th")],
        [("user", "Hello there")],
    ]
    assert [(stream.asked_at, stream.left_at, stream.was_read_to_end) for stream in tape.streams] == [
        *((0.0, 0.05, False), (0.05, 0.1, False), (0.1, 0.6, True))
    ]
    assert len(tape.turns) == 1
    assert tape.turns[0].texts == [(0.1, "One moment. "), (0.6, "Good day.")]
    assert spy.closed == [0.05, 0.1, 0.6]


async def test_an_interruption_hangs_up_and_leaves_what_was_heard() -> None:
    spy = agent(0.5, "Once upon a time there was a king", 5.0, " who ruled.")
    tape, posted = await play(
        gateway(spy, desk={"ack": {"after": "off"}}),
        script({"say": "A story", "interrupt": 1.0}, {"say": "Stop"}),
    )
    assert tape.turns[0].stopped_at == 1.5
    assert spy.closed[0] == 1.5
    assert history(posted[1]) == [("user", "A story"), ("assistant", "Once upon a"), ("user", "Stop")]


async def test_a_newer_question_hangs_up_on_the_older_one() -> None:
    spy = agent(0.5, "Good day.", 2.0, " Bye.")
    tape, posted = await play(gateway(spy), script({"say": "One", "next": 0.2}, {"say": "Two"}))
    assert tape.turns[0].stopped_at == 0.2
    assert tape.turns[0].texts == [(0.0, "One moment. ")]
    assert history(posted[1]) == [("user", "One"), ("user", "Two")]
    assert tape.turns[1].end_times == [2.7]


async def test_an_answer_that_is_there_before_the_next_question_stays() -> None:
    tape, posted = await play(
        gateway(agent("Good day.")), script({"say": "One", "next": 1.0}, {"say": "Two"})
    )
    assert [turn.outcome for turn in tape.turns] == ["answered", "answered"]
    assert history(posted[1])[1] == ("assistant", "One moment. Good day.")
    assert tape.turns[1].asked_at == 1.0


async def test_the_same_request_again_is_posted_while_the_first_runs() -> None:
    tape, posted = await play(gateway(agent(1.0, "Good day.")), script({"say": "Hello?", "again": 0.3}))
    first, second = posted
    assert first.body == second.body
    assert [request.headers["x-stainless-retry-count"] for request in posted] == ["0", "1"]
    assert [stream.asked_at for stream in tape.streams] == [0.0, 0.3]
    assert tape.turns[0].text == "One moment. Good day."
    assert tape.turns[0].end_times == [1.0]
    [(one, other)] = tape.duplicate_streams
    assert one.is_complete
    assert other.is_complete


async def test_nothing_is_posted_again_once_the_answer_is_there() -> None:
    tape, posted = await play(gateway(agent("Good day.")), script({"say": "Hello?", "again": 0.3}))
    assert len(posted) == 1
    assert tape.duplicate_streams == []


async def test_of_two_answers_the_whole_one_is_heard() -> None:
    first: list[PlatformRequest] = []

    def superseded(request: PlatformRequest, message: Any) -> Any:
        first.append(request) if not first else None
        if request is first[0] and b"Good" in message.get("body", b""):
            yield ConnectionResetError("connection reset")
        yield message

    played = script({"say": "Hello?", "again": 0.3}, {"say": "And?"})
    tape, posted = await play(gateway(agent(1.0, "Good day.")), played, superseded)
    assert tape.turns[0].texts == [(0.3, "One moment. "), (1.0, "Good day.")]
    assert tape.turns[0].end_times == [1.0]
    assert history(posted[2])[1] == ("assistant", "One moment. Good day.")


async def test_a_lost_connection_comes_back_with_the_same_request() -> None:
    tape, posted = await play(gateway(agent(1.0, "Good day.")), script({"say": "Hello?", "drop": 0.4}))
    assert [request.headers["x-stainless-retry-count"] for request in posted] == ["0", "1"]
    assert posted[0].body == posted[1].body
    assert tape.turns[0].lost_at == 0.4
    assert [stream.asked_at for stream in tape.streams] == [0.0, 0.6]
    assert tape.turns[0].end_times == [1.6]


async def test_a_connection_that_is_closed_already_cannot_be_lost() -> None:
    tape, posted = await play(gateway(agent("Good day.")), script({"say": "Hello?", "drop": 0.4}))
    assert len(posted) == 1
    assert tape.turns[0].lost_at is None
    assert tape.turns[0].outcome == "answered"


async def test_the_results_of_tools_belong_to_the_turn() -> None:
    played = script({"say": "The weather?"}, tools=[{"name": "weather", "result": "Sunny."}])
    tape, posted = await play(gateway(Desk()), played)
    assert [role for role, _ in history(posted[1])] == ["user", "assistant", "tool"]
    [turn] = tape.turns
    assert [act.name for _, act in turn.actions] == ["weather"]
    assert turn.texts == [(0.6, "It is sunny,"), (0.8, " in Rome.")]
    assert turn.end_times == [0.8]
    assert not tape.violations


async def test_tools_without_an_end_come_to_one() -> None:
    class Eager(Agent):
        async def reply(self, turn: Turn) -> AsyncGenerator[Event, None]:
            self.steps = (ToolCall(f"call_{len(turn.messages)}", "weather"),)
            async for event in super().reply(turn):
                yield event

    played = script({"say": "Go"}, tools=[{"name": "weather", "result": "Sunny."}])
    tape, posted = await play(gateway(Eager()), played)
    assert len(posted) == MAX_TOOL_ROUNDS
    assert tape.violations == [Violation("tools", "tools are called 8 times, without an end")]
    assert tape.turns[0].end_times == []


async def test_the_platform_hangs_up_after_a_farewell() -> None:
    played = script({"say": "Bye"}, {"say": "Still there?"}, tools=[{"name": "end_call"}])
    tape, posted = await play(gateway(agent("Bye. ", ToolCall("c", "end_call", '{"reason":"done"}'))), played)
    assert tape.agent_ended_call
    assert len(posted) == 1
    assert tape.failure == ""


async def test_keys_are_none_of_these_platforms_business() -> None:
    tape, posted = await play(gateway(agent("Good day.")), script({"press": "1"}, {"say": "Hello?"}))
    assert len(posted) == len(tape.turns) == 1


async def test_hanging_up_closes_the_connection() -> None:
    spy = agent(5.0, "Good day.")
    tape, _ = await play(gateway(spy), script({"say": "Hello?", "hang_up": 0.7}))
    assert spy.closed == [0.7]
    assert (tape.turns[0].outcome, tape.failure) == ("hung up", "")


async def test_one_failure_does_not_end_the_rehearsal() -> None:
    flaw = refusing(lambda request, body: body["messages"][-1]["content"] == "One", 500)
    tape, posted = await play(gateway(agent("Good day.")), script({"say": "One"}, {"say": "Two"}), flaw)
    assert [turn.status for turn in tape.turns] == [500, 200]
    assert [turn.outcome for turn in tape.turns] == ["unanswered", "answered"]
    assert history(posted[1]) == [("user", "One"), ("user", "Two")]
    assert (tape.failure, tape.connected_at) == ("", 0.0)


async def test_the_agent_may_end_the_call_while_the_caller_would_interrupt() -> None:
    played = script({"say": "Bye", "interrupt": 5.0}, {"say": "No"}, tools=[{"name": "end_call"}])
    ending = agent("Bye. ", 1.0, ToolCall("c", "end_call", '{"reason":"done"}'))
    tape, posted = await play(gateway(ending, desk={"ack": {"after": "off"}}), played)
    assert (tape.agent_ended_call, tape.turns[0].outcome, len(posted)) == (True, "answered", 1)


async def test_what_fails_before_an_interruption_is_none() -> None:
    flaw = refusing(lambda request, body: True, 500)
    tape, _ = await play(gateway(agent("Hi")), script({"say": "One", "interrupt": 0.2}), flaw)
    assert tape.turns[0].outcome == "unanswered"
    assert tape.turns[0].stopped_at is None


async def test_a_stream_without_its_end_is_said_to_have_ended() -> None:
    def endless(request: PlatformRequest, message: Any) -> Any:
        body = message.get("body", b"")
        yield {**message, "body": b""} if b"[DONE]" in body or b'"finish_reason":"' in body else message

    played = script({"say": "Hello?", "interrupt": 5})
    tape, _ = await play(gateway(agent("Good day.", 0.2, " Bye.")), played, endless)
    found = {verdict.item: verdict.violations for verdict in evaluate_checks(SimulatedElevenLabs.checks, tape, played)}
    assert tape.turns[0].failure == "the stream ended without an end of the answer"
    assert tape.turns[0].outcome == "unanswered"
    assert found["answers"] == ("turn 1: the stream ended without an end of the answer",)
    assert found["done"]


async def test_what_never_happened_was_not_tried() -> None:
    played = script({"say": "Hello?"})
    flaw = refusing(lambda request, body: True, 401)
    tape, _ = await play(gateway(agent("Hi")), played, flaw)
    for platform in (SimulatedElevenLabs, SimulatedVapi):
        found = states(platform, tape, played)
        items = {"silence", "in-time", "before-cascade", "lines", "chunks", "finish", "tools"} & found.keys()
        assert {found[item] for item in items} == {"not tried"}
    assert "No." in tape.refusal_body
