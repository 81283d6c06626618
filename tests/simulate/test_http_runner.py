"""The runner by HTTP requests: the requests and their times."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any

from tests.simulate.flawed_http import WeatherAgent, check_states, make_script, refuse_if, run_call
from tests.support.fake_agent import FakeAgent as Agent
from tests.support.fake_agent import fake_agent as agent
from tests.support.gateway import create_gateway
from voicegw.events import Event, ToolCall, Turn
from voicegw.simulate.checks import evaluate_checks
from voicegw.simulate.http_platform import PlatformRequest
from voicegw.simulate.http_runner import MAX_TOOL_ROUNDS
from voicegw.simulate.platforms.elevenlabs import SimulatedElevenLabs
from voicegw.simulate.platforms.vapi import SimulatedVapi
from voicegw.simulate.recording import Violation


def history_in(request: PlatformRequest) -> list[tuple[str, Any]]:
    found = json.loads(request.body)["messages"]
    return [(message["role"], message["content"]) for message in found[1:]]


async def test_partial_transcripts_are_requests_that_are_closed_soon() -> None:
    spy = agent(0.5, "Good day.")
    recording, requests = await run_call(
        create_gateway(spy), make_script({"say": "Hello there", "partial": ["Hello", "Hello th"]})
    )
    assert [history_in(request) for request in requests] == [
        [("user", "Hello")],
        [("user", "Hello th")],
        [("user", "Hello there")],
    ]
    assert [(stream.asked_at, stream.left_at, stream.was_read_to_end) for stream in recording.streams] == [
        *((0.0, 0.05, False), (0.05, 0.1, False), (0.1, 0.6, True))
    ]
    assert len(recording.turns) == 1
    assert recording.turns[0].texts == [(0.1, "One moment. "), (0.6, "Good day.")]
    assert spy.close_times == [0.05, 0.1, 0.6]


async def test_interruption_closes_the_request_and_keeps_the_heard_text() -> None:
    spy = agent(0.5, "Once upon a time there was a king", 5.0, " who ruled.")
    recording, requests = await run_call(
        create_gateway(spy, agent_section={"ack": {"after": "off"}}),
        make_script({"say": "A story", "interrupt": 1.0}, {"say": "Stop"}),
    )
    assert recording.turns[0].stopped_at == 1.5
    assert spy.close_times[0] == 1.5
    assert history_in(requests[1]) == [("user", "A story"), ("assistant", "Once upon a"), ("user", "Stop")]


async def test_newer_question_closes_the_older_request() -> None:
    spy = agent(0.5, "Good day.", 2.0, " Bye.")
    recording, requests = await run_call(
        create_gateway(spy), make_script({"say": "One", "next": 0.2}, {"say": "Two"})
    )
    assert recording.turns[0].stopped_at == 0.2
    assert recording.turns[0].texts == [(0.0, "One moment. ")]
    assert history_in(requests[1]) == [("user", "One"), ("user", "Two")]
    assert recording.turns[1].end_times == [2.7]


async def test_answer_before_the_next_question_is_kept() -> None:
    recording, requests = await run_call(
        create_gateway(agent("Good day.")), make_script({"say": "One", "next": 1.0}, {"say": "Two"})
    )
    assert [turn.outcome for turn in recording.turns] == ["answered", "answered"]
    assert history_in(requests[1])[1] == ("assistant", "One moment. Good day.")
    assert recording.turns[1].asked_at == 1.0


async def test_duplicate_request_is_sent_while_the_first_is_answered() -> None:
    recording, requests = await run_call(
        create_gateway(agent(1.0, "Good day.")), make_script({"say": "Hello?", "again": 0.3})
    )
    first, second = requests
    assert first.body == second.body
    assert [request.headers["x-stainless-retry-count"] for request in requests] == ["0", "1"]
    assert [stream.asked_at for stream in recording.streams] == [0.0, 0.3]
    assert recording.turns[0].text == "One moment. Good day."
    assert recording.turns[0].end_times == [1.0]
    [(one, other)] = recording.duplicate_streams
    assert one.is_complete
    assert other.is_complete


async def test_answered_request_is_not_repeated() -> None:
    recording, requests = await run_call(
        create_gateway(agent("Good day.")), make_script({"say": "Hello?", "again": 0.3})
    )
    assert len(requests) == 1
    assert recording.duplicate_streams == []


async def test_complete_one_of_two_duplicate_answers_is_heard() -> None:
    first: list[PlatformRequest] = []

    def superseded(request: PlatformRequest, message: Any) -> Any:
        first.append(request) if not first else None
        if request is first[0] and b"Good" in message.get("body", b""):
            yield ConnectionResetError("connection reset")
        yield message

    script = make_script({"say": "Hello?", "again": 0.3}, {"say": "And?"})
    recording, requests = await run_call(create_gateway(agent(1.0, "Good day.")), script, superseded)
    assert recording.turns[0].texts == [(0.3, "One moment. "), (1.0, "Good day.")]
    assert recording.turns[0].end_times == [1.0]
    assert history_in(requests[2])[1] == ("assistant", "One moment. Good day.")


async def test_same_request_is_sent_after_a_lost_connection() -> None:
    recording, requests = await run_call(
        create_gateway(agent(1.0, "Good day.")), make_script({"say": "Hello?", "drop": 0.4})
    )
    assert [request.headers["x-stainless-retry-count"] for request in requests] == ["0", "1"]
    assert requests[0].body == requests[1].body
    assert recording.turns[0].lost_at == 0.4
    assert [stream.asked_at for stream in recording.streams] == [0.0, 0.6]
    assert recording.turns[0].end_times == [1.6]


async def test_completed_request_cannot_be_dropped() -> None:
    recording, requests = await run_call(
        create_gateway(agent("Good day.")), make_script({"say": "Hello?", "drop": 0.4})
    )
    assert len(requests) == 1
    assert recording.turns[0].lost_at is None
    assert recording.turns[0].outcome == "answered"


async def test_tool_results_and_the_rest_of_the_answer_belong_to_the_turn() -> None:
    script = make_script({"say": "The weather?"}, tools=[{"name": "weather", "result": "Sunny."}])
    recording, requests = await run_call(create_gateway(WeatherAgent()), script)
    assert [role for role, _ in history_in(requests[1])] == ["user", "assistant", "tool"]
    [turn] = recording.turns
    assert [action.name for _, action in turn.actions] == ["weather"]
    assert turn.texts == [(0.6, "It is sunny,"), (0.8, " in Rome.")]
    assert turn.end_times == [0.8]
    assert not recording.violations


async def test_endless_tool_rounds_are_stopped_and_reported() -> None:
    class Eager(Agent):
        async def reply(self, turn: Turn) -> AsyncGenerator[Event, None]:
            self.steps = (ToolCall(f"call_{len(turn.messages)}", "weather"),)
            async for event in super().reply(turn):
                yield event

    script = make_script({"say": "Go"}, tools=[{"name": "weather", "result": "Sunny."}])
    recording, requests = await run_call(create_gateway(Eager()), script)
    assert len(requests) == MAX_TOOL_ROUNDS
    assert recording.violations == [Violation("tools", "tools are called 8 times, without an end")]
    assert recording.turns[0].end_times == []


async def test_platform_hangs_up_after_a_hangup_tool() -> None:
    script = make_script({"say": "Bye"}, {"say": "Still there?"}, tools=[{"name": "end_call"}])
    recording, requests = await run_call(
        create_gateway(agent("Bye. ", ToolCall("c", "end_call", '{"reason":"done"}'))), script
    )
    assert recording.agent_ended_call
    assert len(requests) == 1
    assert recording.failure == ""


async def test_press_steps_are_skipped() -> None:
    recording, requests = await run_call(
        create_gateway(agent("Good day.")), make_script({"press": "1"}, {"say": "Hello?"})
    )
    assert len(requests) == len(recording.turns) == 1


async def test_hanging_up_closes_the_connection() -> None:
    spy = agent(5.0, "Good day.")
    recording, _ = await run_call(create_gateway(spy), make_script({"say": "Hello?", "hang_up": 0.7}))
    assert spy.close_times == [0.7]
    assert (recording.turns[0].outcome, recording.failure) == ("hung up", "")


async def test_failed_turn_does_not_stop_the_simulation() -> None:
    flaw = refuse_if(lambda request, body: body["messages"][-1]["content"] == "One", 500)
    recording, requests = await run_call(
        create_gateway(agent("Good day.")), make_script({"say": "One"}, {"say": "Two"}), flaw
    )
    assert [turn.status for turn in recording.turns] == [500, 200]
    assert [turn.outcome for turn in recording.turns] == ["unanswered", "answered"]
    assert history_in(requests[1]) == [("user", "One"), ("user", "Two")]
    assert (recording.failure, recording.connected_at) == ("", 0.0)


async def test_agent_may_end_the_call_before_the_interruption() -> None:
    script = make_script({"say": "Bye", "interrupt": 5.0}, {"say": "No"}, tools=[{"name": "end_call"}])
    ending = agent("Bye. ", 1.0, ToolCall("c", "end_call", '{"reason":"done"}'))
    recording, requests = await run_call(
        create_gateway(ending, agent_section={"ack": {"after": "off"}}), script
    )
    assert (recording.agent_ended_call, recording.turns[0].outcome, len(requests)) == (True, "answered", 1)


async def test_failure_before_the_interruption_is_not_an_interruption() -> None:
    flaw = refuse_if(lambda request, body: True, 500)
    recording, _ = await run_call(
        create_gateway(agent("Hi")), make_script({"say": "One", "interrupt": 0.2}), flaw
    )
    assert recording.turns[0].outcome == "unanswered"
    assert recording.turns[0].stopped_at is None


async def test_stream_without_an_end_of_the_answer_is_unanswered() -> None:
    def endless(request: PlatformRequest, message: Any) -> Any:
        body = message.get("body", b"")
        yield {**message, "body": b""} if b"[DONE]" in body or b'"finish_reason":"' in body else message

    script = make_script({"say": "Hello?", "interrupt": 5})
    recording, _ = await run_call(create_gateway(agent("Good day.", 0.2, " Bye.")), script, endless)
    found = {
        result.item: result.violations
        for result in evaluate_checks(SimulatedElevenLabs.checks, recording, script)
    }
    assert recording.turns[0].failure == "the stream ended without an end of the answer"
    assert recording.turns[0].outcome == "unanswered"
    assert found["answers"] == ("turn 1: the stream ended without an end of the answer",)
    assert found["done"]


async def test_checks_of_refused_requests_are_not_tried() -> None:
    script = make_script({"say": "Hello?"})
    flaw = refuse_if(lambda request, body: True, 401)
    recording, _ = await run_call(create_gateway(agent("Hi")), script, flaw)
    for platform in (SimulatedElevenLabs, SimulatedVapi):
        found = check_states(platform, recording, script)
        items = {"silence", "in-time", "before-cascade", "lines", "chunks", "finish", "tools"} & found.keys()
        assert {found[item] for item in items} == {"not tried"}
    assert "No." in recording.refusal_body
