"""ConversationRelay both ways: frames of Twilio and Telnyx, and only replies that they accept."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicegw.calls.codec import (
    ACTIONS,
    CallCodec,
    CallEvent,
    CallStarted,
    DtmfPressed,
    Interrupted,
    TurnEncoder,
    TurnRequested,
    UnexpectedFrame,
)
from voicegw.events import ToolCall
from voicegw.platforms.conversation_relay.codec import RelayCodec, RelayPlatform

FOLDER = Path(__file__).parent
PLATFORMS: tuple[RelayPlatform, ...] = ("twilio", "telnyx")
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
FINAL = {"type": "text", "token": "", "last": True}
ENDED = {"type": "end", "handoffData": '{"reasonCode":"end_call"}'}
OPTIONAL = {"interruptible", "preemptible"}


def transcript(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (FOLDER / f"relay_{name}.jsonl").read_text("utf-8").splitlines()]


RECEIVED = [step["comes"] for name in PLATFORMS for step in transcript(name) if "comes" in step]


def frames(data: bytes) -> list[dict[str, Any]]:
    """Return the encoded frames, each of which the platforms accept."""
    assert not data or data.endswith(b"\n")
    found = [json.loads(line) for line in data.decode().split("\n")[:-1]]
    for frame in found:
        assert_valid(frame)
    return found


def assert_valid(frame: dict[str, Any]) -> None:
    """Assert that the platforms accept a frame, and that it has no other field."""
    assert type(frame) is dict
    fields = frame.keys() - {"type"}
    match frame["type"]:
        case "text":
            assert fields - OPTIONAL == {"token", "last"}
            assert type(frame["token"]) is str
            assert all(type(frame[field]) is bool for field in fields - {"token"})
        case "play":
            assert fields - {"loop"} == {"source"}
            assert frame["source"].startswith("https://")
            assert type(frame.get("loop", 1)) is int
            assert frame.get("loop", 1) >= 1
        case "sendDigits":
            assert fields == {"digits"}
            assert re.fullmatch("[0-9w#*]+", frame["digits"])
        case "language":
            assert fields == {"ttsLanguage", "transcriptionLanguage"}
            assert all(re.fullmatch("[A-Za-z]{2,3}(-[A-Za-z0-9]+)*", frame[field]) for field in fields)
        case "end":
            assert fields == {"handoffData"}
            data = json.loads(frame["handoffData"])
            assert all(type(value) is str for value in data.values())
            wanted = {"end_call": set(), "transfer_call": {"number"}}[data["reasonCode"]]
            assert data.keys() - {"reason"} == {"reasonCode"} | wanted
        case other:
            raise AssertionError(f"no platform accepts {other!r}")


def action_call(name: str, arguments: Any) -> ToolCall:
    return ToolCall("call_1", name, json.dumps(arguments))


def perform(turn: TurnEncoder, step: list[Any]) -> bytes:
    match step:
        case ["begin", words]:
            return turn.start(words)
        case ["text", delta]:
            return turn.text_delta(delta)
        case ["call", name, arguments]:
            return turn.tool_call(action_call(name, arguments))
        case ["drain"]:
            return turn.drain()
        case ["stop"]:
            return turn.stop()
        case ["end"]:
            return turn.finish("stop", None, "a note")
    raise AssertionError(step)


def make_turn(platform: RelayPlatform = "twilio") -> TurnEncoder:
    return RelayCodec(platform).begin_turn(TurnRequested("Hello?"))


def decode(frame: Any, platform: RelayPlatform = "twilio") -> CallEvent | None:
    return RelayCodec(platform).receive(json.dumps(frame))


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
        "UnexpectedFrame": UnexpectedFrame,
    }
    event: CallEvent = kinds[kind](**fields)
    return event


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("escaped", [True, False])
def test_whole_call_follows_the_recorded_transcript(platform: RelayPlatform, escaped: bool) -> None:
    call: CallCodec = RelayCodec(platform)
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


any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
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
            assert other is None


@given(st.sampled_from(PLATFORMS), mutated() | st.text() | st.binary() | any_json.map(json.dumps))
def test_any_frame_is_decoded_without_an_exception(platform: RelayPlatform, frame: str | bytes) -> None:
    assert_sane(RelayCodec(platform).receive(frame))


def test_tokens_are_unescaped_and_keep_their_spaces() -> None:
    turn = make_turn()
    turn.text_delta(" Größe “M” 🙂\n")
    assert turn.drain() == '{"type":"text","token":" Größe “M” 🙂\\n","last":false}\n'.encode()
    assert turn.spoken_text == " Größe “M” 🙂\n"


def test_surrogate_pair_in_two_deltas_is_joined() -> None:
    turn = make_turn()
    turn.text_delta("\ud83d")
    turn.text_delta("\ude42")
    assert frames(turn.finish("stop", None)) == [{"type": "text", "token": "🙂", "last": True}]


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


def test_turn_without_words_closes_its_talk_cycle() -> None:
    assert frames(make_turn().finish("stop", None)) == [FINAL]


def test_turn_with_only_invalid_actions_closes_its_talk_cycle() -> None:
    turn = make_turn()
    assert turn.tool_call(action_call("send_digits", {"digits": "one"})) == b""
    assert frames(turn.finish("tool_calls", None)) == [FINAL]


def test_turn_stopped_before_its_first_token_sends_nothing() -> None:
    turn = make_turn()
    assert turn.start("One moment. ") == b""
    assert turn.stop() == b""
    assert turn.spoken_text == ""


def test_keepalive_is_empty() -> None:
    assert make_turn().keepalive == b""


def test_stopped_turn_does_not_end_the_call() -> None:
    turn = make_turn()
    turn.text_delta("Bye")
    turn.drain()
    turn.tool_call(action_call("end_call", {}))
    assert turn.ends_call
    assert frames(turn.stop()) == [FINAL]
    assert not turn.ends_call


def test_end_frame_follows_the_last_words_once() -> None:
    turn = make_turn()
    assert turn.tool_call(action_call("end_call", {"reason": None})) == b""
    assert turn.tool_call(action_call("transfer_call", {"number": "+15550199"})) == b""
    turn.text_delta("Goodbye.")
    assert frames(turn.finish("stop", None)) == [{"type": "text", "token": "Goodbye.", "last": True}, ENDED]
    assert turn.ends_call
    assert turn.spoken_text == "Goodbye."


@pytest.mark.parametrize("close", ["end", "stop"])
def test_nothing_is_encoded_after_the_turn(close: str) -> None:
    turn = make_turn()
    turn.text_delta("Hi")
    turn.drain()
    perform(turn, [close])
    after: list[list[Any]] = [
        ["begin", "a"],
        ["text", "b"],
        ["call", "end_call", {}],
        ["call", "send_digits", {"digits": "1"}],
    ]
    assert [perform(turn, step) for step in [*after, ["drain"], ["stop"], ["end"]]] == [b""] * 7
    assert (turn.spoken_text, turn.ends_call) == ("Hi", False)


LONG = "0w9#*" * 12 + "1234"
VALID_ACTIONS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("send_digits", {"digits": LONG}, {"type": "sendDigits", "digits": LONG}),
    *(
        (
            "switch_language",
            {"language": tag},
            {"type": "language", "ttsLanguage": tag, "transcriptionLanguage": tag},
        )
        for tag in ("de", "en-US", "zh-Hant-TW", "es-419")
    ),
    *(
        ("play_audio", {"url": url, "loop": None}, {"type": "play", "source": url})
        for url in ("https://a.example", "https://[::1]:8443/a.wav", "https://a.example/a?b=%20#c")
    ),
    (
        "play_audio",
        {"url": "https://a.example", "loop": 1},
        {"type": "play", "source": "https://a.example", "loop": 1},
    ),
]


@pytest.mark.parametrize(("name", "arguments", "frame"), VALID_ACTIONS)
def test_action_is_one_frame(name: str, arguments: dict[str, Any], frame: dict[str, Any]) -> None:
    turn = make_turn()
    assert frames(turn.tool_call(action_call(name, arguments))) == [frame]
    assert (turn.finish("tool_calls", None), turn.ends_call) == (b"", False)


@pytest.mark.parametrize(
    ("name", "arguments", "data"),
    [
        ("end_call", {}, {"reasonCode": "end_call"}),
        ("end_call", {"reason": "fertig"}, {"reasonCode": "end_call", "reason": "fertig"}),
        (
            "transfer_call",
            {"number": "+123456789012345"},
            {"reasonCode": "transfer_call", "number": "+123456789012345"},
        ),
        (
            "transfer_call",
            {"number": "+1234", "reason": 'say "hi" \ud83d'},
            {"reasonCode": "transfer_call", "number": "+1234", "reason": 'say "hi" \ufffd'},
        ),
    ],
)
def test_handoff_data_is_json_in_a_text(name: str, arguments: dict[str, Any], data: dict[str, str]) -> None:
    turn = make_turn()
    assert turn.tool_call(action_call(name, arguments)) == b""
    [end] = frames(turn.finish("tool_calls", None))
    assert json.loads(end["handoffData"]) == data


NO_NUMBERS = (
    "",
    "15550199",
    "+0555",
    "+123",
    "+1 555",
    "+1234567890123456",
    "+١٢٣٤٥",
    15550199,
    "+15550199\n",
)
NO_DIGITS = ("", "1A", "1 2", "1" * 65, "١", 12, None, "1\n")
NO_LANGUAGES = ("", "e", "english", "und", "multi", "x-a", "en-", "de-" + "x" * 9, 7, None)
NO_AUDIO = (
    "http://a.example/a.mp3",
    "https://",
    "https:///a.mp3",
    "https://me:secret@a.example/",
    "https://a.example/a b",
    "https://a.example/\n",
    "https://a.example/" + "a" * 3000,
    "file:///etc/passwd",
    7,
    None,
)
NO_OBJECTS: tuple[Any, ...] = (None, [], "x", 1)
INVALID_ACTIONS: list[tuple[str, Any]] = [
    ("hang_up", {}),
    ("", {}),
    *((name, arguments) for name in ACTIONS for arguments in NO_OBJECTS),
    *((name, {}) for name in ACTIONS if name != "end_call"),
    ("end_call", {"reason": 5}),
    ("transfer_call", {"number": "+15550199", "reason": ["no"]}),
    *(("transfer_call", {"number": number}) for number in NO_NUMBERS),
    *(("send_digits", {"digits": digits}) for digits in NO_DIGITS),
    *(("switch_language", {"language": language}) for language in NO_LANGUAGES),
    *(("play_audio", {"url": url}) for url in NO_AUDIO),
    *(("play_audio", {"url": "https://a.example", "loop": loop}) for loop in (0, -1, 1.0, True, "2", [1])),
]


@pytest.mark.parametrize(("name", "arguments"), INVALID_ACTIONS)
def test_invalid_action_does_nothing(name: str, arguments: Any) -> None:
    turn = make_turn()
    turn.text_delta("Hi")
    assert turn.tool_call(action_call(name, arguments)) == b""
    assert not turn.ends_call
    assert frames(turn.finish("stop", None)) == [{"type": "text", "token": "Hi", "last": True}]


@pytest.mark.parametrize("arguments", ["", "{", '{"reason":"\ud83d"}'])
def test_arguments_that_are_not_json_do_nothing(arguments: str) -> None:
    turn = make_turn()
    assert turn.tool_call(ToolCall("call_1", "end_call", arguments)) == b""
    assert not turn.ends_call


words = st.text(max_size=8).map(lambda text: text.encode("utf-8", "replace").decode())
calls = st.one_of(
    st.sampled_from([(name, arguments) for name, arguments, _ in VALID_ACTIONS]),
    st.sampled_from([("end_call", {"reason": "done"}), ("transfer_call", {"number": "+15550199"})]),
    st.sampled_from(INVALID_ACTIONS),
    st.tuples(st.sampled_from(ACTIONS), any_json),
)
steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["begin", "text"]), words).map(list),
        st.just(["drain"]),
        calls.map(lambda call: ["call", *call]),
    ),
    max_size=12,
)


@given(st.sampled_from(PLATFORMS), steps, st.sampled_from(["end", "stop"]), steps)
def test_every_turn_is_one_well_formed_talk_cycle(
    platform: RelayPlatform, before: list[list[Any]], close: str, after: list[list[Any]]
) -> None:
    turn = make_turn(platform)
    running = [frame for step in before for frame in frames(perform(turn, step))]
    ending = turn.ends_call
    closing = frames(perform(turn, [close]))
    assert all(perform(turn, step) == b"" for step in [*after, ["drain"], ["end"], ["stop"]])
    check_cycle(running, closing, ending and close == "end")
    tokens = "".join(frame["token"] for frame in running + closing if frame["type"] == "text")
    words = "".join(step[1] for step in before if step[0] in ("begin", "text"))
    assert turn.spoken_text == tokens
    assert words.startswith(tokens)
    assert tokens == words or close == "stop"
    assert turn.ends_call == (ending and close == "end")


def check_cycle(running: list[dict[str, Any]], closing: list[dict[str, Any]], ended: bool) -> None:
    """Assert that only the close is final: a final token where one is due, and then the end frame."""
    assert not any(frame.get("last") or frame["type"] == "end" for frame in running)
    finals = [frame for frame in closing if frame["type"] == "text"]
    assert [frame["type"] for frame in closing] == ["text"] * len(finals) + ["end"] * ended
    assert [frame["last"] for frame in finals] in ([], [True])
    if any(frame["type"] == "text" for frame in running):
        assert finals, "an open cycle is closed"


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
