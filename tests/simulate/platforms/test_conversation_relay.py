"""The simulated ConversationRelay: its frames, and the observations in a gateway's frames."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twilio.request_validator import RequestValidator  # type: ignore[import-untyped]

from voicegw.platforms.twilio import ticket
from voicegw.simulate.platform import SimulatedPlatform, decode_frame
from voicegw.simulate.platforms.conversation_relay import MALFORMED_FRAMES, SimulatedConversationRelay
from voicegw.simulate.recording import ActionSeen, AnswerEnded, HangUpSeen, TextHeard, Violation
from voicegw.simulate.script import CallScript

URL = "wss://voice.example.com/twilio/relay"
ID = "ab" * 16
HELLO = {"say": "Hello?"}


def make_script(*turns: dict[str, Any], **tables: Any) -> CallScript:
    return CallScript.model_validate({"turns": turns or [HELLO], **tables})


def make_platform(
    script: CallScript | None = None, secret: str = "", **options: Any
) -> SimulatedConversationRelay:
    return SimulatedConversationRelay(
        script or make_script(), secret, random_hex=lambda size: "ab" * size, **options
    )


def decode_all(sent: Iterable[str | bytes]) -> list[Any]:
    return [json.loads(frame) for frame in sent]


def text(token: str, last: bool = False, **more: Any) -> str:
    return json.dumps({"type": "text", "token": token, "last": last, **more})


def asked(platform: SimulatedConversationRelay | None = None) -> SimulatedConversationRelay:
    """Return a platform that has asked its first question."""
    platform = platform or make_platform()
    platform.start(reconnecting=False)
    platform.ask("Hello?")
    return platform


def test_implements_the_platform_protocol() -> None:
    platform: SimulatedPlatform = make_platform()
    assert (
        platform.name,
        platform.ping_interval,
        platform.ping(),
        platform.hang_up(),
        platform.repeat(),
    ) == (
        *("twilio", None),
        *((), (), ()),
    )


def test_setup_has_twilio_s_fields() -> None:
    assert decode_all(make_platform(parameters={"table": "7"}).start(reconnecting=False)) == [
        {
            "type": "setup",
            "sessionId": f"VX{ID}",
            "accountSid": f"AC{ID}",
            "callSid": f"CA{ID}",
            "parentCallSid": "",
            "callType": "PSTN",
            "callStatus": "RINGING",
            "from": "+15550100",
            "to": "+15550199",
            "direction": "inbound",
            "forwardedFrom": "",
            "callerName": "",
            "customParameters": {"table": "7"},
        }
    ]


def test_telnyx_setup_has_its_own_call_ids() -> None:
    [setup] = decode_all(make_platform(vendor="telnyx").start(reconnecting=False))
    named = {key: setup[key] for key in ("callControlId", "callSessionId", "callLegId", "callStatus")}
    assert named == {
        "callControlId": f"v3:{ID}",
        "callSessionId": ID,
        "callLegId": ID,
        "callStatus": "active",
    }
    assert "callSid" not in setup


def test_caller_s_actions_are_encoded_as_platform_frames() -> None:
    platform = make_platform(make_script(language="de-DE"))
    platform.start(reconnecting=False)
    spoken = [*platform.encode_partial("Hal"), *platform.ask("Hallo, hören Sie?"), *platform.press("1#")]
    assert decode_all([*spoken, *platform.interrupt("Guten Tag, hier")]) == [
        {"type": "prompt", "voicePrompt": "Hal", "lang": "de-DE", "last": False},
        {"type": "prompt", "voicePrompt": "Hallo, hören Sie?", "lang": "de-DE", "last": True},
        {"type": "dtmf", "digit": "1"},
        {"type": "dtmf", "digit": "#"},
        {"type": "interrupt", "utteranceUntilInterrupt": "Guten Tag, hier", "durationUntilInterruptMs": 1000},
    ]
    assert platform.ask(None) == ()


def test_reconnected_call_repeats_its_setup_and_last_question() -> None:
    platform = make_platform()
    setup = platform.start(reconnecting=False)
    assert platform.start(reconnecting=True) == setup
    platform.ask("Hello?")
    question = platform.press("12")
    assert platform.start(reconnecting=True) == (*setup, *question)


def test_handshake_has_twilio_s_signature() -> None:
    headers = make_platform(secret="tok").build_headers(URL)
    assert headers == {"X-Twilio-Signature": str(RequestValidator("tok").compute_signature(URL, {}))}
    assert make_platform(secret="tok").build_url(URL) == URL


def test_public_url_is_signed_instead_of_the_called_one() -> None:
    platform = make_platform(secret="tok", public_url=URL)
    assert platform.build_headers("ws://127.0.0.1:8080/twilio/relay") == make_platform(
        secret="tok"
    ).build_headers(URL)


def test_forged_handshake_has_another_signature() -> None:
    for platform in (make_platform(secret="tok"), make_platform()):
        forged = platform.build_headers(URL, forged=True)
        assert forged.keys() == {"X-Twilio-Signature"}
        assert forged != platform.build_headers(URL)


def test_no_signature_without_a_secret_and_none_at_telnyx() -> None:
    assert make_platform().build_headers(URL) == {}
    telnyx = make_platform(secret="tok", vendor="telnyx")
    assert (telnyx.build_headers(URL), telnyx.build_headers(URL, forged=True), telnyx.parameters) == (
        {},
        {},
        {},
    )


def test_call_with_a_secret_has_its_own_ticket() -> None:
    platform = make_platform(secret="tok", now=1e9, parameters={"table": "7"})
    [setup] = decode_all(platform.start(reconnecting=False))
    shown = setup["customParameters"]
    assert shown.keys() == {"voicegw", "table"}
    assert ticket.verify("tok", shown["voicegw"], f"CA{ID}", 1e9 + 60)
    assert not ticket.verify("tok", shown["voicegw"], "CA2", 1e9 + 60)


def test_each_call_has_its_own_id() -> None:
    assert (
        SimulatedConversationRelay(make_script()).call_ids
        != SimulatedConversationRelay(make_script()).call_ids
    )


def test_tokens_belong_to_the_newest_question_and_earlier_ones_are_a_greeting() -> None:
    platform = make_platform()
    platform.start(reconnecting=False)
    assert platform.receive(text("Hi!", True)) == (TextHeard(None, "Hi!"), AnswerEnded(None))
    platform.ask("Hello?")
    assert platform.receive(text("One")) == (TextHeard(0, "One"),)
    assert platform.receive(text(" two.", True)) == (TextHeard(0, " two."), AnswerEnded(0))
    platform.ask("And?")
    assert platform.receive(text("Three.", True)) == (TextHeard(1, "Three."), AnswerEnded(1))


def test_empty_token_may_close_the_older_talk_cycle() -> None:
    platform = asked()
    platform.receive(text("We are"))
    platform.ask("When?")
    assert platform.receive(text("", True)) == ()
    assert platform.receive(text("At nine.")) == (TextHeard(1, "At nine."),)
    assert platform.receive(text("", True)) == (TextHeard(1, ""), AnswerEnded(1))


def test_older_talk_cycle_may_stay_open() -> None:
    platform = asked()
    platform.receive(text("We are"))
    platform.ask("When?")
    assert platform.receive(text("At nine.")) == (TextHeard(1, "At nine."),)
    assert platform.receive(text("", True)) == (TextHeard(1, ""), AnswerEnded(1))


def test_talk_cycle_may_be_closed_after_an_interruption_and_later_tokens_are_text() -> None:
    platform = asked()
    platform.receive(text("We are"))
    platform.interrupt("We")
    assert platform.receive(text("", True)) == (TextHeard(0, ""), AnswerEnded(0))
    assert platform.receive(text(" open.")) == (TextHeard(0, " open."),)


def test_actions_are_recorded_and_end_hangs_up() -> None:
    platform = asked()
    for frame in (
        {"type": "play", "source": "https://a.example/b.mp3", "loop": 2, "preemptible": True},
        {"type": "sendDigits", "digits": "1w2#"},
        {"type": "language", "ttsLanguage": "de-DE"},
        {"type": "config", "whatever": {}},
    ):
        assert platform.receive(json.dumps(frame)) == (ActionSeen(0, str(frame["type"]), json.dumps(frame)),)
    platform.receive(text("Bye.", True))
    end = '{"type":"end","handoffData":"{}"}'
    assert platform.receive(end) == (ActionSeen(0, "end", end), HangUpSeen())


def test_call_may_end_without_text() -> None:
    assert asked().receive('{"type":"end"}') == (
        ActionSeen(0, "end", '{"type":"end"}'),
        AnswerEnded(0),
        HangUpSeen(),
    )


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"\x00\x01", "a binary frame of 2 bytes"),
        ("hi", "not JSON: 'hi'"),
        ("[1]", "JSON, but not an object: '[1]'"),
        ("{}", "a frame of unknown type: null"),
        ('{"type":["text"]}', "a frame of unknown type: a list"),
        ('{"type":"error","error":"x"}', "a frame of unknown type: 'error'"),
        ('{"type":"text"}', "text without token"),
        ('{"type":"text","token":null}', "text: token does not fit: null"),
        ('{"type":"text","token":"a","last":"true"}', "text: last does not fit: 'true'"),
        ('{"type":"text","token":"a","last":0}', "text: last does not fit: 0"),
        ('{"type":"text","token":"a","interruptible":"any"}', "text: interruptible does not fit: 'any'"),
        ('{"type":"play","source":"b.mp3"}', "play: source does not fit: 'b.mp3'"),
        ('{"type":"play","source":"https://a.example/b","loop":true}', "play: loop does not fit: true"),
        ('{"type":"play","source":"https://a.example/b","loop":-1}', "play: loop does not fit: -1"),
        ('{"type":"sendDigits","digits":"12a"}', "sendDigits: digits does not fit: '12a'"),
        ('{"type":"language"}', "language without a language"),
        ('{"type":"end","handoffData":{}}', "end: handoffData does not fit: an object"),
    ],
)
def test_invalid_frames_are_violations_with_a_reason(frame: str | bytes, reason: str) -> None:
    assert asked().receive(frame) == (Violation("frames", reason),)


def test_telnyx_does_not_accept_twilio_s_newer_frames() -> None:
    platform = asked(make_platform(vendor="telnyx"))
    assert platform.receive('{"type":"hints"}') == (Violation("frames", "a frame of unknown type: 'hints'"),)


# Arbitrary frames

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(["type", "token", "last", "source", "loop", "digits", "ttsLanguage", "handoffData"])
KINDS = st.sampled_from(["text", "play", "sendDigits", "language", "end", "config", "hints", "setup"])
ANY_FRAME = st.one_of(
    st.text(),
    st.binary(),
    VALUES.map(json.dumps),
    st.dictionaries(KEYS, VALUES | KINDS, max_size=5).map(json.dumps),
    st.builds(lambda kind, rest: json.dumps({**rest, "type": kind}), KINDS, st.dictionaries(KEYS, VALUES)),
)
CALLER_ACTIONS = st.sampled_from(["ask", "partial", "interrupt", "press", "again"])


@given(st.lists(st.one_of(ANY_FRAME, CALLER_ACTIONS), max_size=12))
def test_any_frames_give_observations_of_known_turns_and_checks(steps: list[str | bytes]) -> None:
    platform = make_platform()
    items = {check.item for check in platform.checks}
    turns = -1
    platform.start(reconnecting=False)
    for step in steps:
        if step in ("ask", "press"):
            turns += 1
        observations = _do(platform, step)
        assert all(found.item in items for found in observations if isinstance(found, Violation))
        numbers = {
            found.turn for found in observations if isinstance(found, TextHeard | AnswerEnded | ActionSeen)
        }
        assert numbers <= {turns if turns >= 0 else None}


def _do(platform: SimulatedConversationRelay, step: str | bytes) -> Iterable[Any]:
    match step:
        case "ask":
            platform.ask("Hello?")
        case "partial":
            platform.encode_partial("Hel")
        case "interrupt":
            platform.interrupt("He")
        case "press":
            platform.press("1")
        case "again":
            platform.start(reconnecting=True)
        case _:
            return platform.receive(step)
    return ()


@pytest.mark.parametrize(
    "frame", ['{"type":' + "[" * 900 + "]" * 900 + "}", "[" * 100_000, "1" * 5000, '"\\ud800"']
)
def test_deep_and_long_frames_are_violations_with_short_reasons(frame: str) -> None:
    [violation] = asked().receive(frame)
    assert isinstance(violation, Violation)
    assert len(violation.reason) < 120


def test_malformed_frames_ask_no_question() -> None:
    found = [decode_frame(frame) for frame in MALFORMED_FRAMES]
    kinds = {str(frame.get("type")) for frame in found if isinstance(frame, dict)}
    assert not kinds & {"setup", "prompt", "interrupt", "dtmf"}
    assert {"weather", "info"} <= kinds
