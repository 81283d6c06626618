"""ConversationRelay both ways: frames of Twilio and Telnyx, and only replies that they accept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.platforms.conversation_relay.frames import (
    FINAL,
    PLATFORMS,
    RECEIVED,
    any_json,
    decode,
    frames,
    make_codec,
    make_turn,
    perform,
    transcript,
)
from voicegw.calls.codec import (
    CallCodec,
    CallEvent,
    CallStarted,
    DtmfPressed,
    Interrupted,
    PlatformNotice,
    TurnRequested,
    UnexpectedFrame,
)
from voicegw.platforms.conversation_relay.codec import RelayCodec, RelayPlatform

UNEXPECTED_REASONS = {
    "a binary frame",
    "not valid JSON",
    "not a JSON object",
    "a frame of unknown type",
    "a dtmf frame without a valid digit",
    "a prompt of wrong types",
    "a prompt without words",
    "a setup that names no call",
    "the platform reports an error",
}


def expected_event(step: dict[str, Any]) -> CallEvent | None:
    if step["tells"] is None:
        return None
    kind, fields = step["tells"]
    if kind == "CallStarted":
        return CallStarted(fields["call_id"], step["comes"])
    kinds: dict[str, Any] = {
        "TurnRequested": TurnRequested,
        "Interrupted": Interrupted,
        "DtmfPressed": DtmfPressed,
        "PlatformNotice": PlatformNotice,
        "UnexpectedFrame": UnexpectedFrame,
    }
    event: CallEvent = kinds[kind](**fields)
    return event


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("escaped", [True, False])
def test_whole_call_follows_the_recorded_transcript(platform: RelayPlatform, escaped: bool) -> None:
    call: CallCodec = make_codec(platform)
    assert (call.name, call.close_code, call.open("Hello.")) == (platform, 1012, b"")
    assert call.open("Hello.", reconnected=True) == b""
    current = make_turn()
    for step in transcript(platform):
        if "comes" in step:
            event = call.receive(json.dumps(step["comes"], ensure_ascii=escaped))
            assert event == expected_event(step)
            if isinstance(event, TurnRequested) and event.final:
                current = call.begin_turn(event)
        else:
            assert frames(perform(current, step["do"])) == step["goes"]


@pytest.mark.parametrize(
    ("platform", "names", "call"),
    [
        ("twilio", {"sessionId": "s", "callSid": "c", "callControlId": "x"}, "c"),
        ("telnyx", {"sessionId": "s", "callSessionId": "e", "callControlId": "x", "callSid": "c"}, "x"),
        ("telnyx", {"sessionId": "s", "callSessionId": "e", "callControlId": ""}, "e"),
        ("telnyx", {"sessionId": "s", "callSessionId": 7, "callControlId": None}, "s"),
    ],
)
def test_call_id_is_the_first_field_that_is_there(
    platform: RelayPlatform, names: dict[str, Any], call: str
) -> None:
    setup = {"type": "setup", **names}
    assert decode(setup, platform) == CallStarted(call, setup)


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("name", [None, "", " ", 7, True, ["c"], {}])
def test_setup_without_a_call_id_is_unexpected(platform: RelayPlatform, name: Any) -> None:
    keys = ("callSid", "callControlId", "callSessionId", "sessionId")
    assert decode({"type": "setup", **dict.fromkeys(keys, name)}, platform) == UnexpectedFrame(
        "a setup that names no call"
    )
    assert decode({"type": "setup"}, platform) == UnexpectedFrame("a setup that names no call")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"voicePrompt": "Hi"}, TurnRequested("Hi")),
        ({"voicePrompt": " Hi ", "last": None, "lang": None}, TurnRequested(" Hi ")),
        ({"voicePrompt": "Hi", "lang": ""}, TurnRequested("Hi")),
        ({"voicePrompt": "Hi", "lang": 7, "turnState": "eager"}, TurnRequested("Hi")),
        ({"voicePrompt": "Hi", "last": False}, TurnRequested("Hi", final=False)),
        ({"voicePrompt": " ", "last": False}, None),
        ({"voicePrompt": " ", "last": True}, UnexpectedFrame("a prompt without words")),
        ({"voicePrompt": ""}, UnexpectedFrame("a prompt without words")),
        ({"voicePrompt": None}, UnexpectedFrame("a prompt of wrong types")),
        ({"voicePrompt": ["Hi"]}, UnexpectedFrame("a prompt of wrong types")),
        ({"voicePrompt": "Hi", "last": "false"}, UnexpectedFrame("a prompt of wrong types")),
        ({"voicePrompt": "Hi", "last": 0}, UnexpectedFrame("a prompt of wrong types")),
        ({}, UnexpectedFrame("a prompt of wrong types")),
    ],
)
def test_prompt_is_final_unless_last_is_false(fields: dict[str, Any], expected: CallEvent | None) -> None:
    assert decode({"type": "prompt", **fields}) == expected


@pytest.mark.parametrize("duration", [460, "460", None, "soon", 4.6])
@pytest.mark.parametrize(("heard", "expected"), [("Our", "Our"), ("", ""), (None, None), (7, None)])
def test_interruption_has_the_heard_text_with_any_duration(
    duration: Any, heard: Any, expected: str | None
) -> None:
    frame = {"type": "interrupt", "utteranceUntilInterrupt": heard, "durationUntilInterruptMs": duration}
    assert decode(frame) == Interrupted(expected)
    assert decode({"type": "interrupt"}) == Interrupted(None)


@pytest.mark.parametrize("digit", "0123456789*#ABCD")
def test_dtmf_digit_is_decoded(digit: str) -> None:
    assert decode({"type": "dtmf", "digit": digit}) == DtmfPressed(digit)


@pytest.mark.parametrize("digit", ["", "12", "w", "E", "a", "١", "1\n", 1, None, ["1"]])
def test_invalid_dtmf_digit_is_unexpected(digit: Any) -> None:
    assert decode({"type": "dtmf", "digit": digit}) == UnexpectedFrame("a dtmf frame without a valid digit")


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b'{"type":"prompt","voicePrompt":"Hi"}', "a binary frame"),
        ("", "not valid JSON"),
        ("{", "not valid JSON"),
        ('{"type":"prompt","voicePrompt":"\ud83d"}', "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("null", "not a JSON object"),
        ("[]", "not a JSON object"),
        ("{}", "a frame of unknown type"),
        ('{"type":"ping"}', "a frame of unknown type"),
        ('{"type":["prompt"]}', "a frame of unknown type"),
        ('{"type":{}}', "a frame of unknown type"),
    ],
)
def test_invalid_frame_is_unexpected(frame: str | bytes, reason: str) -> None:
    assert RelayCodec("twilio").receive(frame) == UnexpectedFrame(reason)


def test_lone_surrogate_in_a_prompt_is_replaced() -> None:
    assert RelayCodec("twilio").receive('{"type":"prompt","voicePrompt":"Hi \\ud83d"}') == TurnRequested(
        "Hi \ufffd"
    )


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A valid frame with a field removed, replaced or added, or cut off."""
    frame = dict(draw(st.sampled_from(RECEIVED)))
    for key in draw(st.lists(st.sampled_from([*frame, "last", "digit"]), max_size=3)):
        if draw(st.booleans()):
            frame.pop(key, None)
        else:
            frame[key] = draw(any_json)
    text = json.dumps(frame, ensure_ascii=draw(st.booleans()))
    return text[: draw(st.integers(0, len(text)))] if draw(st.integers(0, 3)) == 0 else text


def assert_sane(event: CallEvent | None) -> None:
    match event:
        case CallStarted(call, facts):
            assert isinstance(call, str)
            assert call.strip()
            assert isinstance(facts, dict)
        case TurnRequested(words, "said", final, language, None, 0):
            assert isinstance(words, str)
            assert words.strip()
            assert type(final) is bool
            assert language is None or (isinstance(language, str) and language)
        case Interrupted(heard):
            assert heard is None or isinstance(heard, str)
        case DtmfPressed(digit):
            assert digit in list("0123456789*#ABCD")
        case UnexpectedFrame(reason):
            assert reason in UNEXPECTED_REASONS, "the reason holds nothing of the frame"
        case other:
            assert other in (None, PlatformNotice("config-updated"))


@given(st.sampled_from(PLATFORMS), mutated() | st.text() | st.binary() | any_json.map(json.dumps))
def test_any_frame_is_decoded_without_an_exception(platform: RelayPlatform, frame: str | bytes) -> None:
    assert_sane(RelayCodec(platform).receive(frame))


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        ({}, {}),
        ({"preemptible": True}, {"preemptible": True}),
        ({"interruptible": False, "preemptible": None}, {"interruptible": False}),
        ({"interruptible": True, "preemptible": False}, {"interruptible": True, "preemptible": False}),
    ],
)
def test_every_token_has_the_configured_flags(
    options: dict[str, bool | None], fields: dict[str, bool]
) -> None:
    turn = RelayCodec("twilio", **options).begin_turn(TurnRequested("Hello?"))
    turn.text_delta("Hi")
    assert frames(turn.drain()) == [{"type": "text", "token": "Hi", "last": False, **fields}]
    assert frames(turn.stop()) == [{**FINAL, **fields}]


class TestTwilioModels:
    """The codec agrees with Twilio's own models of the frames; skipped where they are not installed."""

    @pytest.fixture
    def voice(self) -> Any:
        return pytest.importorskip("tac.models.voice", reason="needs `pip install twilio-agent-connect`")

    @pytest.fixture
    def handoff(self) -> Any:
        return pytest.importorskip("tac.models.handoff", reason="needs `pip install twilio-agent-connect`")

    def received(self, kind: str) -> Iterator[dict[str, Any]]:
        yield from (frame for frame in RECEIVED if frame["type"] == kind)

    def test_setup_is_decoded_as_by_twilio(self, voice: Any) -> None:
        for frame in self.received("setup"):
            theirs = voice.SetupMessage.model_validate(frame)
            ours = decode(frame)
            assert isinstance(ours, CallStarted)
            assert (theirs.call_sid, theirs.custom_parameters) == (
                ours.call_id,
                ours.metadata["customParameters"],
            )

    def test_prompt_is_decoded_as_by_twilio(self, voice: Any) -> None:
        for frame in self.received("prompt"):
            theirs = voice.PromptMessage.model_validate(frame)
            if isinstance(ours := decode(frame), TurnRequested):
                final = theirs.last is not False
                assert (theirs.voice_prompt, theirs.lang, final) == (
                    ours.user_text,
                    ours.language,
                    ours.final,
                )

    def test_interrupt_is_decoded_as_by_twilio(self, voice: Any) -> None:
        for frame in self.received("interrupt"):
            theirs = voice.InterruptMessage.model_validate(frame)
            assert decode(frame) == Interrupted(theirs.utterance_until_interrupt)

    def test_end_frame_is_valid_for_twilio(self, handoff: Any) -> None:
        ends = [
            frame for step in transcript("twilio") for frame in step.get("goes", ()) if frame["type"] == "end"
        ]
        assert [
            handoff.PendingHandoffData.model_validate(end).model_dump(by_alias=True) for end in ends
        ] == ends
        assert ends


@pytest.mark.parametrize(
    ("facts", "ticket", "rest"),
    [
        ({}, "", {}),
        ({"customParameters": None}, "", {"customParameters": None}),
        ({"customParameters": {"plan": "gold"}}, "", {"customParameters": {"plan": "gold"}}),
        ({"customParameters": {"plan": "gold", "voicegw": "x"}}, "x", {"customParameters": {"plan": "gold"}}),
        ({"customParameters": {"voicegw": 1}}, "", {"customParameters": {}}),
    ],
)
def test_ticket_is_hidden_from_the_agent(facts: dict[str, Any], ticket: str, rest: dict[str, Any]) -> None:
    setup = {"type": "setup", "callSid": "CA1"}
    opened = RelayCodec("twilio", ticket_parameter="voicegw").receive(json.dumps({**setup, **facts}))
    assert opened == CallStarted("CA1", {**setup, **rest}, ticket)
    assert RelayCodec("twilio").receive(json.dumps({**setup, **facts})) == CallStarted(
        "CA1", {**setup, **facts}
    )


def test_reason_of_a_new_session_is_hidden_from_the_agent() -> None:
    codec = RelayCodec("twilio", ticket_parameter="voicegw", resumed_parameter="voicegw-resumed")
    parameters = {"voicegw": "x", "voicegw-resumed": "busy", "plan": "gold"}
    setup = {"type": "setup", "callSid": "CA1", "customParameters": parameters}
    metadata = {**setup, "customParameters": {"plan": "gold"}}
    assert codec.receive(json.dumps(setup)) == CallStarted("CA1", metadata, "x", "busy")


@pytest.mark.parametrize("value", [None, "on", {"ttsProvider": "Google"}])
@pytest.mark.parametrize("frame", [{"type": "info", "name": "configUpdated"}, {"type": "configUpdated"}])
def test_change_of_the_configuration_is_reported_once(frame: dict[str, Any], value: Any) -> None:
    codec = RelayCodec("twilio")
    text = json.dumps({**frame, "value": value})
    assert [codec.receive(text), codec.receive(text)] == [PlatformNotice("config-updated"), None]


def test_tokens_name_the_language_of_their_reply() -> None:
    turn = RelayCodec("twilio", tags_language=True).begin_turn(TurnRequested("Hola", language="es-ES"))
    turn.text_delta("Sí")
    spanish = {"type": "text", "lang": "es-ES"}
    assert frames(turn.drain()) == [{**spanish, "token": "Sí", "last": False}]
    assert frames(turn.finish("stop", None)) == [{**spanish, "token": "", "last": True}]
    untagged = RelayCodec("twilio", tags_language=True).begin_turn(TurnRequested("Hello"))
    assert frames(untagged.finish("stop", None)) == [FINAL]
