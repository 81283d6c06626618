"""Events of `docker agent serve api` are decoded."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicegw.agents.docker.protocol import DockerEventDecoder, parse_session_id, parse_team, run_request
from voicegw.errors import AgentBusy, AgentError, AgentProtocolError
from voicegw.events import REASONING, Activity, Event, Usage
from voicegw.wire.sse import ServerSentEvent

WHERE = "http://docker/api"


def event(type: str, **fields: Any) -> dict[str, Any]:
    return {"type": type, **fields}


def text_event(text: Any, **more: Any) -> dict[str, Any]:
    return event("agent_choice", content=text, **more)


def feed(decoder: DockerEventDecoder, value: Any) -> list[Event]:
    return decoder.feed(ServerSentEvent("", value if isinstance(value, bytes) else orjson.dumps(value)))


def decode(*values: Any) -> list[Event]:
    """Return all events but `REASONING`."""
    decoder = DockerEventDecoder("s1", WHERE)
    events = [found for value in values for found in feed(decoder, value) if found != REASONING]
    return events + decoder.finish()


def usage_event(**last: int) -> dict[str, Any]:
    return event("token_usage", usage={"input_tokens": 900, "output_tokens": 90, "last_message": last})


def tool_event(name: str, id: str = "1", type: str = "tool_call") -> dict[str, Any]:
    return event(type, tool_call={"id": id, "function": {"name": name, "arguments": "{}"}})


def test_encoded_requests() -> None:
    assert run_request("Hi") == {"messages": [{"role": "user", "content": "Hi"}]}


@pytest.mark.parametrize(
    ("values", "events"),
    [
        ((text_event("a", session_id="s1"), text_event(""), text_event("b")), ["a", "b"]),
        ((text_event("to the other", session_id="s2"),), []),
        ((event("agent_choice_reasoning", content="hm"), event("team_info"), {"x": 1}, b""), []),
        ((event("stream_started", session_id="s1", agent_name="root"),), []),
        ((event("stream_started", session_id="s2", agent_name="clerk"),), [Activity("clerk")]),
        ((event("stream_started", session_id="s2"),), [Activity("agent")]),
        (
            (
                tool_event("", type="partial_tool_call"),
                tool_event("f", type="partial_tool_call"),
                tool_event("f"),
                tool_event("g", "2"),
            ),
            [Activity("f"), Activity("g")],
        ),
        ((tool_event("f", ""), event("tool_call")), [Activity("f")]),
        (
            (
                usage_event(input_tokens=5, output_tokens=2, cached_input_tokens=3),
                usage_event(input_tokens=7, output_tokens=1),
            ),
            [Usage(15, 3, 3)],
        ),
        (
            (
                event("token_usage", usage={"input_tokens": 5, "output_tokens": 2}),
                event("token_usage", usage={"input_tokens": 9, "output_tokens": 4}),
            ),
            [Usage(9, 4)],
        ),
        ((event("token_usage"), event("token_usage", usage={"input_tokens": "x"})), []),
        ((event("error", error="x", session_id="s2"), text_event("a")), ["a"]),
        ((event("error", error="compaction"), text_event(" "), text_event("a")), [" ", "a"]),
    ],
)
def test_events_are_decoded(values: tuple[Any, ...], events: list[Event]) -> None:
    assert decode(*values) == events


@pytest.mark.parametrize(
    ("value", "action", "answer"),
    [
        (event("tool_call_confirmation"), "resume", {"confirmation": "reject"}),
        (event("max_iterations_reached", max_iterations=5), "resume", {"confirmation": "reject"}),
        (event("elicitation_request"), "elicitation", {"action": "decline", "content": {}}),
        (
            event("elicitation_request", elicitation_id=[1]),
            "elicitation",
            {"action": "decline", "content": {}},
        ),
        (
            event("elicitation_request", elicitation_id="e1"),
            "elicitation",
            {"action": "decline", "content": {}, "elicitation_id": "e1"},
        ),
    ],
)
def test_requests_for_approval_are_rejected(value: Any, action: str, answer: dict[str, Any]) -> None:
    decoder = DockerEventDecoder("s1", WHERE)
    assert feed(decoder, value) == []
    assert decoder.pending_answer is not None
    assert decoder.pending_answer[0] == action
    assert decoder.pending_answer[1].items() >= answer.items()
    feed(decoder, text_event("a"))
    assert decoder.pending_answer is None


def test_a_run_is_done_when_its_own_stream_stops() -> None:
    decoder = DockerEventDecoder("s1", WHERE)
    feed(decoder, event("stream_stopped", session_id="s2"))
    assert not decoder.done
    feed(decoder, event("stream_stopped", session_id="s1"))
    assert decoder.done


@pytest.mark.parametrize(
    ("value", "error_class", "message"),
    [
        (event("error", error="no\nluck"), AgentError, f"{WHERE} reported an error: no luck"),
        (event("error", error="slow", code="rate_limited"), AgentBusy, f"{WHERE} reported an error: slow"),
        (event("error"), AgentError, f"{WHERE} reported an error"),
    ],
)
def test_an_error_is_raised_at_the_end(value: Any, error_class: type[AgentError], message: str) -> None:
    with pytest.raises(AgentError) as raised:
        decode(text_event("a"), value, event("stream_stopped"))
    assert (type(raised.value), str(raised.value)) == (error_class, message)


@pytest.mark.parametrize(
    "value",
    [b"{", [], "x", text_event(5), tool_event("f") | {"tool_call": 5}, event("token_usage", usage=[1])],
)
def test_invalid_events_are_protocol_errors(value: Any) -> None:
    with pytest.raises(AgentProtocolError, match="an event of an unknown shape"):
        decode(value)


def test_a_new_session_has_an_id() -> None:
    assert parse_session_id({"id": "s1", "title": "Call"}, WHERE) == "s1"
    values: list[Any] = [None, [], {}, {"id": ""}, {"id": 5}]
    for value in values:
        with pytest.raises(AgentProtocolError, match="created a session without an id"):
            parse_session_id(value, WHERE)


def test_the_first_team_is_used() -> None:
    assert parse_team([{"name": ""}, 5, {"name": "desk", "multi": True}, {"name": "other"}], WHERE) == "desk"
    values: list[Any] = [None, {}, [], [{"name": 5}]]
    for value in values:
        with pytest.raises(AgentProtocolError, match="named no agent"):
            parse_team(value, WHERE)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
TYPES = ["agent_choice", "tool_call", "stream_started", "tool_call_confirmation", "elicitation_request"]
FIELDS = ["content", "session_id", "tool_call", "agent_name", "usage", "error", "code", "elicitation_id"]
VALUES = JSON | st.builds(
    lambda kind, fields: {**fields, "type": kind},
    st.sampled_from([*TYPES, "token_usage", "error", "stream_stopped"]) | JSON,
    st.dictionaries(st.sampled_from(FIELDS), JSON),
)


@given(st.lists(VALUES, max_size=6))
def test_no_event_raises_anything_but_an_agent_error(values: list[Any]) -> None:
    decoder = DockerEventDecoder("s1", WHERE)
    with suppress(AgentError):
        for value in values:
            assert all(type(found) in (str, Activity) for found in feed(decoder, value))
        decoder.finish()


@given(st.binary())
def test_no_data_raises_anything_but_an_agent_error(data: bytes) -> None:
    with suppress(AgentError):
        decode(data)
