"""ConversationRelay both ways: what Twilio and Telnyx tell us, and only frames that they take."""

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
from voicegw.platforms.conversation_relay.codec import Flavour, RelayCodec

GOLDEN = Path(__file__).parent
FLAVOURS: tuple[Flavour, ...] = ("twilio", "telnyx")
REASONS = {
    "a binary frame",
    "not valid JSON",
    "not a JSON object",
    "a frame of unknown type",
    "a key that no keypad has",
    "a prompt of wrong types",
    "a prompt without words",
    "a setup that names no call",
    "the platform reports an error",
}
FINAL = {"type": "text", "token": "", "last": True}
ENDED = {"type": "end", "handoffData": '{"reasonCode":"end_call"}'}
OPTIONAL = {"interruptible", "preemptible"}


def transcript(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (GOLDEN / f"relay_{name}.jsonl").read_text("utf-8").splitlines()]


COMING = [step["comes"] for name in FLAVOURS for step in transcript(name) if "comes" in step]


def frames(data: bytes) -> list[dict[str, Any]]:
    """The frames in what a codec wrote, each of them one that the platforms take."""
    assert not data or data.endswith(b"\n")
    found = [json.loads(line) for line in data.decode().split("\n")[:-1]]
    for frame in found:
        judge(frame)
    return found


def judge(frame: dict[str, Any]) -> None:
    """Assert that a frame is in the table of what we may send, with no field besides."""
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
            raise AssertionError(f"nobody takes {other!r}")


def acted(name: str, arguments: Any) -> ToolCall:
    return ToolCall("call_1", name, json.dumps(arguments))


def perform(turn: TurnEncoder, step: list[Any]) -> bytes:
    match step:
        case ["begin", words]:
            return turn.start(words)
        case ["text", delta]:
            return turn.text_delta(delta)
        case ["call", name, arguments]:
            return turn.tool_call(acted(name, arguments))
        case ["drain"]:
            return turn.drain()
        case ["stop"]:
            return turn.stop()
        case ["end"]:
            return turn.finish("stop", None, "a note")
    raise AssertionError(step)


def turn(flavour: Flavour = "twilio") -> TurnEncoder:
    return RelayCodec(flavour).turn(TurnRequested("Hello?"))


def tell(frame: Any, flavour: Flavour = "twilio") -> CallEvent | None:
    return RelayCodec(flavour).receive(json.dumps(frame))


def told(step: dict[str, Any]) -> CallEvent | None:
    if step["tells"] is None:
        return None
    kind, fields = step["tells"]
    if kind == "CallStarted":
        return CallStarted(fields["call"], step["comes"])
    kinds: dict[str, Any] = {
        "TurnRequested": TurnRequested,
        "Interrupted": Interrupted,
        "DtmfPressed": DtmfPressed,
        "UnexpectedFrame": UnexpectedFrame,
    }
    happening: CallEvent = kinds[kind](**fields)
    return happening


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("escaped", [True, False])
def test_a_whole_call_goes_as_the_transcript_says(flavour: Flavour, escaped: bool) -> None:
    call: CallCodec = RelayCodec(flavour)
    assert (call.name, call.close_code, call.open("Hello.")) == (flavour, 1012, b"")
    assert call.open("Hello.", again=True) == b""
    current = turn()
    for step in transcript(flavour):
        if "comes" in step:
            happening = call.receive(json.dumps(step["comes"], ensure_ascii=escaped))
            assert happening == told(step)
            if isinstance(happening, TurnRequested) and happening.final:
                current = call.turn(happening)
        else:
            assert frames(perform(current, step["do"])) == step["goes"]


@pytest.mark.parametrize(
    ("flavour", "names", "call"),
    [
        ("twilio", {"sessionId": "s", "callSid": "c", "callControlId": "x"}, "c"),
        ("telnyx", {"sessionId": "s", "callSessionId": "e", "callControlId": "x", "callSid": "c"}, "x"),
        ("telnyx", {"sessionId": "s", "callSessionId": "e", "callControlId": ""}, "e"),
        ("telnyx", {"sessionId": "s", "callSessionId": 7, "callControlId": None}, "s"),
    ],
)
def test_a_call_has_the_best_name_that_came(flavour: Flavour, names: dict[str, Any], call: str) -> None:
    setup = {"type": "setup", **names}
    assert tell(setup, flavour) == CallStarted(call, setup)


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("name", [None, "", " ", 7, True, ["c"], {}])
def test_a_setup_without_a_name_is_odd(flavour: Flavour, name: Any) -> None:
    keys = ("callSid", "callControlId", "callSessionId", "sessionId")
    assert tell({"type": "setup", **dict.fromkeys(keys, name)}, flavour) == UnexpectedFrame(
        "a setup that names no call"
    )
    assert tell({"type": "setup"}, flavour) == UnexpectedFrame("a setup that names no call")


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
def test_a_prompt_is_final_words_unless_it_says_otherwise(
    fields: dict[str, Any], expected: CallEvent | None
) -> None:
    assert tell({"type": "prompt", **fields}) == expected


@pytest.mark.parametrize("lasted", [460, "460", None, "soon", 4.6])
@pytest.mark.parametrize(("heard", "expected"), [("Our", "Our"), ("", ""), (None, None), (7, None)])
def test_an_interruption_tells_what_was_heard_however_long_it_took(
    lasted: Any, heard: Any, expected: str | None
) -> None:
    frame = {"type": "interrupt", "utteranceUntilInterrupt": heard, "durationUntilInterruptMs": lasted}
    assert tell(frame) == Interrupted(expected)
    assert tell({"type": "interrupt"}) == Interrupted(None)


@pytest.mark.parametrize("digit", "0123456789*#ABCD")
def test_a_key_is_pressed(digit: str) -> None:
    assert tell({"type": "dtmf", "digit": digit}) == DtmfPressed(digit)


@pytest.mark.parametrize("digit", ["", "12", "w", "E", "a", "١", "1\n", 1, None, ["1"]])
def test_what_is_no_key_is_odd(digit: Any) -> None:
    assert tell({"type": "dtmf", "digit": digit}) == UnexpectedFrame("a key that no keypad has")


@pytest.mark.parametrize(
    ("frame", "why"),
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
def test_a_frame_that_means_nothing_is_odd(frame: str | bytes, why: str) -> None:
    assert RelayCodec("twilio").receive(frame) == UnexpectedFrame(why)


def test_half_an_emoji_does_not_cost_the_prompt() -> None:
    assert RelayCodec("twilio").receive('{"type":"prompt","voicePrompt":"Hi \\ud83d"}') == TurnRequested(
        "Hi \ufffd"
    )


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A frame that could have come, with a field gone, exchanged or added, or cut off."""
    frame = dict(draw(st.sampled_from(COMING)))
    for key in draw(st.lists(st.sampled_from([*frame, "last", "digit"]), max_size=3)):
        if draw(st.booleans()):
            frame.pop(key, None)
        else:
            frame[key] = draw(anything)
    text = json.dumps(frame, ensure_ascii=draw(st.booleans()))
    return text[: draw(st.integers(0, len(text)))] if draw(st.integers(0, 3)) == 0 else text


def sane(happening: CallEvent | None) -> None:
    match happening:
        case CallStarted(call, facts):
            assert isinstance(call, str)
            assert call.strip()
            assert isinstance(facts, dict)
        case TurnRequested(said, "said", final, language, None, 0):
            assert isinstance(said, str)
            assert said.strip()
            assert type(final) is bool
            assert language is None or (isinstance(language, str) and language)
        case Interrupted(heard):
            assert heard is None or isinstance(heard, str)
        case DtmfPressed(digit):
            assert digit in list("0123456789*#ABCD")
        case UnexpectedFrame(why):
            assert why in REASONS, "nothing of what came"
        case other:
            assert other is None


@given(st.sampled_from(FLAVOURS), mutated() | st.text() | st.binary() | anything.map(json.dumps))
def test_whatever_comes_is_read_without_a_fuss(flavour: Flavour, frame: str | bytes) -> None:
    sane(RelayCodec(flavour).receive(frame))


def test_words_travel_unescaped_and_with_their_spaces() -> None:
    talk = turn()
    talk.text_delta(" Größe “M” 🙂\n")
    assert talk.drain() == '{"type":"text","token":" Größe “M” 🙂\\n","last":false}\n'.encode()
    assert talk.spoken_text == " Größe “M” 🙂\n"


def test_an_emoji_that_came_in_halves_is_whole_again() -> None:
    talk = turn()
    talk.text_delta("\ud83d")
    talk.text_delta("\ude42")
    assert frames(talk.finish("stop", None)) == [{"type": "text", "token": "🙂", "last": True}]


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        ({}, {}),
        ({"preemptible": True}, {"preemptible": True}),
        ({"interruptible": False, "preemptible": None}, {"interruptible": False}),
        ({"interruptible": True, "preemptible": False}, {"interruptible": True, "preemptible": False}),
    ],
)
def test_every_token_says_what_may_cut_it_if_that_is_configured(
    options: dict[str, bool | None], fields: dict[str, bool]
) -> None:
    talk = RelayCodec("twilio", **options).turn(TurnRequested("Hello?"))
    talk.text_delta("Hi")
    assert frames(talk.drain()) == [{"type": "text", "token": "Hi", "last": False, **fields}]
    assert frames(talk.stop()) == [{**FINAL, **fields}]


def test_a_turn_of_no_words_still_ends_its_cycle() -> None:
    assert frames(turn().finish("stop", None)) == [FINAL]


def test_a_turn_of_nonsense_only_still_ends_its_cycle() -> None:
    talk = turn()
    assert talk.tool_call(acted("send_digits", {"digits": "one"})) == b""
    assert frames(talk.finish("tool_calls", None)) == [FINAL]


def test_a_turn_stopped_before_its_first_token_leaves_no_trace() -> None:
    talk = turn()
    assert talk.start("One moment. ") == b""
    assert talk.stop() == b""
    assert talk.spoken_text == ""


def test_a_silent_socket_needs_no_keep_alive() -> None:
    assert turn().keepalive == b""


def test_a_turn_that_was_cut_short_does_not_end_the_call() -> None:
    talk = turn()
    talk.text_delta("Bye")
    talk.drain()
    talk.tool_call(acted("end_call", {}))
    assert talk.ends_call
    assert frames(talk.stop()) == [FINAL]
    assert not talk.ends_call


def test_the_call_ends_after_the_farewell_and_once() -> None:
    talk = turn()
    assert talk.tool_call(acted("end_call", {"reason": None})) == b""
    assert talk.tool_call(acted("transfer_call", {"number": "+15550199"})) == b""
    talk.text_delta("Goodbye.")
    assert frames(talk.finish("stop", None)) == [{"type": "text", "token": "Goodbye.", "last": True}, ENDED]
    assert talk.ends_call
    assert talk.spoken_text == "Goodbye."


@pytest.mark.parametrize("close", ["end", "stop"])
def test_nothing_comes_after_the_turn(close: str) -> None:
    talk = turn()
    talk.text_delta("Hi")
    talk.drain()
    perform(talk, [close])
    after: list[list[Any]] = [
        ["begin", "a"],
        ["text", "b"],
        ["call", "end_call", {}],
        ["call", "send_digits", {"digits": "1"}],
    ]
    assert [perform(talk, step) for step in [*after, ["drain"], ["stop"], ["end"]]] == [b""] * 7
    assert (talk.spoken_text, talk.ends_call) == ("Hi", False)


LONG = "0w9#*" * 12 + "1234"
SENSE: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
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


@pytest.mark.parametrize(("name", "arguments", "frame"), SENSE)
def test_an_action_is_one_frame(name: str, arguments: dict[str, Any], frame: dict[str, Any]) -> None:
    talk = turn()
    assert frames(talk.tool_call(acted(name, arguments))) == [frame]
    assert (talk.finish("tool_calls", None), talk.ends_call) == (b"", False)


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
def test_what_goes_on_with_the_call_is_json_in_a_text(
    name: str, arguments: dict[str, Any], data: dict[str, str]
) -> None:
    talk = turn()
    assert talk.tool_call(acted(name, arguments)) == b""
    [end] = frames(talk.finish("tool_calls", None))
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
NO_LANGUAGES = ("", "e", "english", "en_US", "en-", "de-" + "x" * 9, "en\n", 7, None)
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
NONSENSE: list[tuple[str, Any]] = [
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


@pytest.mark.parametrize(("name", "arguments"), NONSENSE)
def test_an_action_that_makes_no_sense_does_nothing(name: str, arguments: Any) -> None:
    talk = turn()
    talk.text_delta("Hi")
    assert talk.tool_call(acted(name, arguments)) == b""
    assert not talk.ends_call
    assert frames(talk.finish("stop", None)) == [{"type": "text", "token": "Hi", "last": True}]


@pytest.mark.parametrize("arguments", ["", "{", '{"reason":"\ud83d"}'])
def test_arguments_that_are_no_json_do_nothing(arguments: str) -> None:
    talk = turn()
    assert talk.tool_call(ToolCall("call_1", "end_call", arguments)) == b""
    assert not talk.ends_call


words = st.text(max_size=8).map(lambda text: text.encode("utf-8", "replace").decode())
calls = st.one_of(
    st.sampled_from([(name, arguments) for name, arguments, _ in SENSE]),
    st.sampled_from([("end_call", {"reason": "done"}), ("transfer_call", {"number": "+15550199"})]),
    st.sampled_from(NONSENSE),
    st.tuples(st.sampled_from(ACTIONS), anything),
)
steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["begin", "text"]), words).map(list),
        st.just(["drain"]),
        calls.map(lambda call: ["call", *call]),
    ),
    max_size=12,
)


@given(st.sampled_from(FLAVOURS), steps, st.sampled_from(["end", "stop"]), steps)
def test_whatever_an_agent_does_the_platform_gets_one_well_formed_cycle(
    flavour: Flavour, before: list[list[Any]], close: str, after: list[list[Any]]
) -> None:
    talk = turn(flavour)
    running = [frame for step in before for frame in frames(perform(talk, step))]
    ending = talk.ends_call
    closing = frames(perform(talk, [close]))
    assert all(perform(talk, step) == b"" for step in [*after, ["drain"], ["end"], ["stop"]])
    check_cycle(running, closing, ending and close == "end")
    tokens = "".join(frame["token"] for frame in running + closing if frame["type"] == "text")
    said = "".join(step[1] for step in before if step[0] in ("begin", "text"))
    assert talk.spoken_text == tokens
    assert said.startswith(tokens)
    assert tokens == said or close == "stop"
    assert talk.ends_call == (ending and close == "end")


def check_cycle(running: list[dict[str, Any]], closing: list[dict[str, Any]], ended: bool) -> None:
    """Nothing is final before the close, which is a final token wherever one was due, and then the end."""
    assert not any(frame.get("last") or frame["type"] == "end" for frame in running)
    finals = [frame for frame in closing if frame["type"] == "text"]
    assert [frame["type"] for frame in closing] == ["text"] * len(finals) + ["end"] * ended
    assert [frame["last"] for frame in finals] in ([], [True])
    if any(frame["type"] == "text" for frame in running):
        assert finals, "an open cycle is closed"


class TestTwilioItself:
    """Twilio's own Python models of these frames agree with us; skipped where they are not installed."""

    @pytest.fixture
    def voice(self) -> Any:
        return pytest.importorskip("tac.models.voice", reason="needs `pip install twilio-agent-connect`")

    @pytest.fixture
    def handoff(self) -> Any:
        return pytest.importorskip("tac.models.handoff", reason="needs `pip install twilio-agent-connect`")

    def coming(self, kind: str) -> Iterator[dict[str, Any]]:
        yield from (frame for frame in COMING if frame["type"] == kind)

    def test_setups(self, voice: Any) -> None:
        for frame in self.coming("setup"):
            theirs = voice.SetupMessage.model_validate(frame)
            ours = tell(frame)
            assert isinstance(ours, CallStarted)
            assert (theirs.call_sid, theirs.custom_parameters) == (
                ours.call,
                ours.metadata["customParameters"],
            )

    def test_prompts(self, voice: Any) -> None:
        for frame in self.coming("prompt"):
            theirs = voice.PromptMessage.model_validate(frame)
            if isinstance(ours := tell(frame), TurnRequested):
                final = theirs.last is not False
                assert (theirs.voice_prompt, theirs.lang, final) == (
                    ours.user_text,
                    ours.language,
                    ours.final,
                )

    def test_interruptions(self, voice: Any) -> None:
        for frame in self.coming("interrupt"):
            theirs = voice.InterruptMessage.model_validate(frame)
            assert tell(frame) == Interrupted(theirs.utterance_until_interrupt)

    def test_ends(self, handoff: Any) -> None:
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
def test_an_agent_sees_no_ticket(facts: dict[str, Any], ticket: str, rest: dict[str, Any]) -> None:
    setup = {"type": "setup", "callSid": "CA1"}
    opened = RelayCodec("twilio", ticket_parameter="voicegw").receive(json.dumps({**setup, **facts}))
    assert opened == CallStarted("CA1", {**setup, **rest}, ticket)
    assert RelayCodec("twilio").receive(json.dumps({**setup, **facts})) == CallStarted(
        "CA1", {**setup, **facts}
    )
