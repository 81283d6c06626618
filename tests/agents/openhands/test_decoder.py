"""Frames of OpenHands' session socket are decoded; the recordings are of version 1.58."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicegw.agents.openhands.decoder import OpenHandsTurnDecoder, from_legacy_event
from voicegw.errors import AgentBusy, AgentError, AgentProtocolError, AgentRejected, AgentTimeout
from voicegw.events import REASONING, Activity, Event, Usage

FIXTURES = Path(__file__).parent / "fixtures"
FILLER = ["Let ", "me ", "check. "]
WORDS = [f"word{i} " for i in range(20)]
Frame = dict[str, Any]


def read_recording(name: str) -> list[Frame]:
    lines = (FIXTURES / f"openhands_{name}.jsonl").read_bytes().splitlines()
    return [orjson.loads(line) for line in lines]


def decode(decoder: OpenHandsTurnDecoder, frames: list[Frame]) -> list[Event]:
    """Return the events of the frames up to the end of the turn, without `REASONING`."""
    events: list[Event] = []
    for frame in frames:
        if not decoder.is_complete:
            events += decoder.feed(frame)
    return [event for event in events if event != REASONING]


def durable(**event: Any) -> Frame:
    return {"type": "durable", "seq": 9, "event": event}


def user(text: str) -> Frame:
    message = {"role": "user", "content": [{"type": "text", "text": text}]}
    return durable(kind="MessageEvent", source="user", id="u", llm_message=message)


def message(id: str, text: str) -> Frame:
    content = [{"type": "text", "text": text}, {"type": "image", "image_urls": []}]
    return durable(kind="MessageEvent", source="agent", id=id, llm_message={"content": content})


def action(id: str, thought: str = "", **more: Any) -> Frame:
    parts = [{"type": "text", "text": thought}] if thought else []
    return durable(**{"kind": "ActionEvent", "id": id, "thought": parts, "tool_call_id": f"call_{id}"} | more)


def status(value: str) -> Frame:
    return durable(kind="ConversationStateUpdateEvent", key="execution_status", value=value)


def stats(prompt: int, **more: Any) -> Frame:
    models = {"a": {"accumulated_token_usage": {"prompt_tokens": prompt} | more}, "b": {}}
    return durable(kind="ConversationStateUpdateEvent", key="stats", value={"usage_to_metrics": models})


def item_started(item: str = "i") -> list[Frame]:
    return [{"type": "item_started", "item_id": item, "attempt": 1}]


def delta(text: str, order: int = 0, item: str = "i", **more: Any) -> Frame:
    return {"type": "delta", "item_id": item, "attempt": 1, "order": order, "content": text} | more


@pytest.mark.parametrize(
    ("name", "prompt", "events", "usage"),
    [
        ("text", "hello", WORDS, Usage(11, 7)),
        ("tool", "USETOOL", [*FILLER, Activity("say hi"), *WORDS], Usage(22, 14)),
        ("legacy", "USETOOL", [*FILLER, Activity("say hi"), *WORDS], Usage(22, 14)),
        ("finish", "USEFINISH", [*FILLER, "".join(f"word{i}  " for i in range(20))[:-1]], Usage()),
        ("queued", "one [first=0.3 words=10]", WORDS[:10], Usage()),
        ("think", "[think] [words=3]", WORDS[:3], Usage()),
    ],
)
def test_a_recorded_turn(name: str, prompt: str, events: list[Event], usage: Usage) -> None:
    frames = read_recording(name)
    decoder = OpenHandsTurnDecoder(prompt)
    decoded = decode(decoder, [from_legacy_event(frame) for frame in frames] if name == "legacy" else frames)
    assert (decoded, decoder.status, decoder.usage) == (events, "finished", usage)
    decoder.raise_for_status()


def test_a_recorded_turn_that_waits_for_confirmation() -> None:
    decoder = OpenHandsTurnDecoder("do [risk HIGH] [run echo hi]")
    assert decode(decoder, read_recording("asked")) == [*FILLER, Activity("Run a command")]
    assert (decoder.status, decoder.pending_actions, decoder.seq, decoder.is_remembered) == (
        "waiting_for_confirmation",
        ["Run a command"],
        7,
        True,
    )
    assert decoder.separate("May I?") == "May I?"
    decoder.raise_for_status()
    decoder.resume()
    assert (decoder.status, decoder.pending_actions, decoder.is_remembered) == ("", [], False)


def test_a_recorded_turn_stopped_by_another_client() -> None:
    decoder = OpenHandsTurnDecoder("hello")
    assert decode(decoder, read_recording("interrupt")) == WORDS[:8]
    assert (decoder.status, decoder.is_remembered) == ("paused", False)
    with pytest.raises(AgentError, match="X was stopped by another client"):
        OpenHandsTurnDecoder.raise_for_status(ended_decoder("paused"))


def ended_decoder(value: str) -> OpenHandsTurnDecoder:
    decoder = OpenHandsTurnDecoder(None, where="X")
    decoder.feed(status(value))
    return decoder


def test_a_recorded_failure_gives_its_reason_after_its_status() -> None:
    *frames, reason, _ = read_recording("error")
    decoder = OpenHandsTurnDecoder("oh [fail 400]", where="X")
    decode(decoder, frames)
    assert (decoder.status, decoder.is_complete) == ("error", False)
    assert decode(decoder, [reason]) == []
    assert decoder.is_complete
    with pytest.raises(AgentError) as failed:
        decoder.raise_for_status()
    assert failed.value.summary == "X failed: LLMBadRequestError"
    assert failed.value.quote == "litellm.BadRequestError: OpenAIException - The model broke down."


def test_a_message_kept_at_the_run_limit_means_busy() -> None:
    decoder = OpenHandsTurnDecoder("more", where="X")
    with pytest.raises(AgentBusy, match="X runs as many conversations as it may"):
        decode(decoder, read_recording("full"))
    assert (decoder.run_limit_reached, decoder.is_remembered, decoder.started) == (True, True, True)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("LLMRateLimitError", AgentBusy),
        ("LLMServiceUnavailableError", AgentBusy),
        ("LLMTimeoutError", AgentTimeout),
        ("LLMAuthenticationError", AgentRejected),
        ("MaxIterationsReached", AgentError),
        (None, AgentError),
    ],
)
def test_error_codes_select_the_error_class(code: str | None, kind: type[AgentError]) -> None:
    decoder = ended_decoder("error")
    decoder.feed(durable(kind="ConversationErrorEvent", code=code, detail="a  b\n" + "x" * 900))
    with pytest.raises(AgentError) as failed:
        decoder.raise_for_status()
    assert type(failed.value) is kind
    assert failed.value.quote == ("a b " + "x" * 900)[:300]


def test_an_error_status_without_a_reason_raises_an_error() -> None:
    with pytest.raises(AgentError, match="X failed"):
        ended_decoder("error").raise_for_status()
    with pytest.raises(AgentError, match="X is stuck"):
        ended_decoder("stuck").raise_for_status()


def test_frames_before_the_prompt_comes_back_are_ignored() -> None:
    decoder = OpenHandsTurnDecoder("Hi \ud83d")  # half an emoji arrives as another character
    early = [*item_started(), delta("old"), status("finished"), message("i", "old"), user("Hello")]
    assert decode(decoder, early) == []
    assert (decoder.started, decoder.status) == (False, "")
    assert decode(decoder, [user("Hi \ufffd"), *item_started("j"), delta("new", item="j")]) == ["new"]


def test_a_turn_without_a_prompt_starts_at_once() -> None:
    assert decode(OpenHandsTurnDecoder(None), [message("i", "Well.")]) == ["Well."]


def test_a_running_status_after_an_end_continues_the_turn() -> None:
    decoder = ended_decoder("finished")
    decoder.feed(status("running"))
    assert not decoder.is_complete


def test_a_text_with_a_gap_is_completed_by_its_event() -> None:
    decoder = OpenHandsTurnDecoder(None)
    frames = [*item_started(), delta("It "), {"type": "sync", "through_seq": 3}, delta("nine.", 5)]
    assert decode(decoder, [*frames, message("i", "It opens at nine.")]) == ["It ", "opens at nine."]


def test_a_new_text_follows_after_a_paragraph_break() -> None:
    frames = [*item_started("a"), delta("Wait.", item="a"), action("a", "Wait.", tool_name="shell")]
    assert decode(OpenHandsTurnDecoder(None), [*frames, message("b", "Done.")]) == [
        "Wait.",
        Activity("shell"),
        "\n\nDone.",
    ]


def test_an_aborted_text_is_followed_by_a_paragraph_break() -> None:
    cut = [*item_started("a"), delta("It is", item="a"), {"type": "item_aborted", "item_id": "a"}]
    frames = [*cut, *item_started("b"), delta("Sorry. ", item="b")]
    assert decode(OpenHandsTurnDecoder(None), frames) == ["It is", "\n\nSorry. "]


def test_other_choices_reasoning_and_unknown_frames_are_not_spoken() -> None:
    frames = [
        *item_started(),
        delta("no", choice_index=1),
        delta("hm", kind="reasoning"),
        delta("yes", 1, choice_index=0),
        delta("who?", item="z"),
        {"type": "fireworks"},
        durable(kind="SystemPromptEvent"),
        durable(kind="CondensationEvent"),
    ]
    assert decode(OpenHandsTurnDecoder(None), frames) == ["yes"]


def test_the_message_of_the_finish_tool_is_spoken_once() -> None:
    finish = {"action": {"kind": "FinishAction", "message": "All  done."}, "tool_name": "finish"}
    assert decode(OpenHandsTurnDecoder(None), [action("a", "Well.", **finish)]) == ["Well.", "\n\nAll  done."]
    assert decode(OpenHandsTurnDecoder(None), [action("a", "So: All done.", **finish)]) == ["So: All done."]
    assert decode(OpenHandsTurnDecoder(None), [action("a", action={"kind": "FinishAction"})]) == []


def test_pending_actions_are_those_without_an_observation() -> None:
    decoder = OpenHandsTurnDecoder(None)
    activities = decode(
        decoder, [action("a", summary="Delete  it."), action("b", tool_name="x"), action("c")]
    )
    assert activities == [Activity("Delete it"), Activity("x"), Activity("a tool")]
    assert decoder.pending_actions == ["Delete it", "x", "a tool"]
    decoder.feed(durable(kind="ObservationEvent", tool_call_id="call_b"))
    decoder.feed(durable(kind="UserRejectObservation", tool_call_id="call_z"))
    assert decoder.pending_actions == ["Delete it", "a tool"]
    assert decode(decoder, [action("d", summary="x" * 99)]) == [Activity("x" * 80)]


def test_usage_is_the_difference_to_the_known_total() -> None:
    first = OpenHandsTurnDecoder("Hi")
    decode(first, [stats(5), user("Hi"), stats(12, completion_tokens=2, cache_read_tokens=3)])
    assert first.usage == Usage(7, 2, 3)
    late = {"usage_to_metrics": {"a": {"accumulated_token_usage": {"prompt_tokens": 20}}}}
    full = {"kind": "ConversationStateUpdateEvent", "key": "full_state", "value": {"stats": late}}
    second = OpenHandsTurnDecoder("Yo", first.total_usage)
    decode(second, [{"type": "transient", "event": full}, user("Yo"), stats(21, reasoning_tokens=1)])
    assert second.usage == Usage(9, 0, 0, 1)
    assert second.total_usage == Usage(21, 0, 0, 1)


def test_invalid_statistics_change_nothing() -> None:
    decoder = OpenHandsTurnDecoder(None, Usage(3))
    values: list[Any] = ["<elided>", {}, {"stats": {}}, None]
    for value in values:
        decoder.feed(durable(kind="ConversationStateUpdateEvent", key="full_state", value=value))
        decoder.feed(durable(kind="ConversationStateUpdateEvent", key="stats", value=value))
    assert (decoder.total_usage, decoder.usage) == (Usage(3), Usage())


def test_the_number_of_the_last_event_is_kept() -> None:
    decoder = OpenHandsTurnDecoder(None)
    decoder.feed({"type": "sync"})
    assert decoder.seq is None
    decoder.feed({"type": "sync", "through_seq": 4})
    assert decoder.seq == 4
    decoder.feed({**status("running"), "seq": 7})
    decoder.feed({"type": "sync", "through_seq": 12})
    decoder.feed({"type": "durable", "event": {}})
    assert decoder.seq == 7


def test_a_frame_that_the_server_refused_raises_an_error() -> None:
    with pytest.raises(
        AgentError, match="OpenHands refused a frame: ValidationError: Input should be"
    ) as refused:
        OpenHandsTurnDecoder("Hi").feed(
            {"type": "error", "code": "ValidationError", "detail": "Input should be"}
        )
    assert type(refused.value) is AgentError


@pytest.mark.parametrize(
    "frame",
    [
        {"type": "durable"},
        {"type": "durable", "event": 5},
        {"type": "transient", "event": None},
        {"type": "delta"},
        {"type": "item_started"},
        delta("x", content=5),
        delta("x", attempt="many"),
        delta("x", item=["i"]),  # type: ignore[arg-type]
        status(["finished"]),  # type: ignore[arg-type]
        durable(kind="ActionEvent", id="a", thought=[5]),
        delta("x", attempt=float("inf")),
        message("i", "x") | {"event": {"kind": "MessageEvent", "source": "agent", "id": "i"}},
        durable(kind="ConversationStateUpdateEvent", key="stats", value={"usage_to_metrics": {"a": 5}}),
    ],
)
def test_frames_of_another_shape_are_protocol_errors(frame: Frame) -> None:
    decoder = OpenHandsTurnDecoder(None)
    decode(decoder, item_started())
    with pytest.raises(AgentProtocolError, match="OpenHands sent a frame of an unknown shape"):
        decoder.feed(frame)


def test_message_content_may_be_a_plain_string() -> None:
    plain = durable(kind="MessageEvent", source="agent", id="i", llm_message={"content": "Hi"})
    without_text = durable(
        kind="MessageEvent", source="agent", id="j", llm_message={"content": [{"text": 5}]}
    )
    assert decode(OpenHandsTurnDecoder(None), [plain, without_text]) == ["Hi"]


def test_older_servers_send_bare_events() -> None:
    state = {"kind": "ConversationStateUpdateEvent", "key": "full_state"}
    assert from_legacy_event(state) == {"type": "transient", "event": state}
    assert from_legacy_event({"kind": "X"}) == {"type": "durable", "event": {"kind": "X"}}
    reasoning = from_legacy_event({"kind": "StreamingDeltaEvent", "reasoning_content": "hm"})
    assert decode(
        OpenHandsTurnDecoder(None),
        [reasoning, from_legacy_event({"kind": "StreamingDeltaEvent", "content": "a"})],
    ) == ["a"]
    assert (
        decode(
            OpenHandsTurnDecoder("Hi"), [from_legacy_event({"kind": "StreamingDeltaEvent", "content": "a"})]
        )
        == []
    )


EVENT = "event kind source id key value thought action summary code detail llm_message tool_call_id stats"
FRAME = "type item_id attempt order content text usage_to_metrics accumulated_token_usage prompt_tokens"
KINDS = "MessageEvent ActionEvent ConversationStateUpdateEvent ConversationErrorEvent FinishAction agent user"
TYPES = "durable transient delta item_started item_aborted error sync i stats full_state execution_status"
NAMES = st.sampled_from([*EVENT.split(), *FRAME.split()])
VALUES = st.sampled_from([*KINDS.split(), *TYPES.split()])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | VALUES | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=12,
)


@given(
    st.lists(
        st.dictionaries(NAMES, JSON, max_size=6) | st.sampled_from([*item_started(), delta("x")]), max_size=6
    )
)
def test_no_frame_raises_anything_but_an_agent_error(frames: list[Frame]) -> None:
    decoder = OpenHandsTurnDecoder(None)
    for frame in frames:
        try:
            events = decoder.feed(frame)
            decoder.feed(from_legacy_event(frame))
        except AgentError:
            continue
        assert all(isinstance(event, (str, Activity)) and event != "" for event in events)
        assert decoder.usage.prompt >= 0
