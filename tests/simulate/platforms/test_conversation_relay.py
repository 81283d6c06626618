"""The caller of ConversationRelay: what it sends, how it reads a gateway, and that it finds every flaw."""

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


def told(*turns: dict[str, Any], **tables: Any) -> CallScript:
    return CallScript.model_validate({"turns": turns or [HELLO], **tables})


def relay(script: CallScript | None = None, secret: str = "", **how: Any) -> SimulatedConversationRelay:
    return SimulatedConversationRelay(script or told(), secret, random_hex=lambda size: "ab" * size, **how)


def frames(sent: Iterable[str | bytes]) -> list[Any]:
    return [json.loads(frame) for frame in sent]


def text(token: str, last: bool = False, **more: Any) -> str:
    return json.dumps({"type": "text", "token": token, "last": last, **more})


def asked(caller: SimulatedConversationRelay | None = None) -> SimulatedConversationRelay:
    """A caller whose question was asked."""
    caller = caller or relay()
    caller.start(reconnecting=False)
    caller.ask("Hello?")
    return caller


def test_it_is_a_caller() -> None:
    caller: SimulatedPlatform = relay()
    assert (caller.name, caller.ping_interval, caller.ping(), caller.hang_up(), caller.repeat()) == (
        *("twilio", None),
        *((), (), ()),
    )


def test_the_setup_is_twilio_s() -> None:
    assert frames(relay(parameters={"table": "7"}).start(reconnecting=False)) == [
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


def test_telnyx_names_its_calls_otherwise() -> None:
    [setup] = frames(relay(flavour="telnyx").start(reconnecting=False))
    named = {key: setup[key] for key in ("callControlId", "callSessionId", "callLegId", "callStatus")}
    assert named == {
        "callControlId": f"v3:{ID}",
        "callSessionId": ID,
        "callLegId": ID,
        "callStatus": "active",
    }
    assert "callSid" not in setup


def test_what_the_caller_does_is_said_in_the_platform_s_words() -> None:
    caller = relay(told(language="de-DE"))
    caller.start(reconnecting=False)
    spoken = [*caller.encode_partial("Hal"), *caller.ask("Hallo, hören Sie?"), *caller.press("1#")]
    assert frames([*spoken, *caller.interrupt("Guten Tag, hier")]) == [
        {"type": "prompt", "voicePrompt": "Hal", "lang": "de-DE", "last": False},
        {"type": "prompt", "voicePrompt": "Hallo, hören Sie?", "lang": "de-DE", "last": True},
        {"type": "dtmf", "digit": "1"},
        {"type": "dtmf", "digit": "#"},
        {"type": "interrupt", "utteranceUntilInterrupt": "Guten Tag, hier", "durationUntilInterruptMs": 1000},
    ]
    assert caller.ask(None) == ()


def test_a_call_that_comes_back_is_the_same_and_replays_its_last_question() -> None:
    caller = relay()
    setup = caller.start(reconnecting=False)
    assert caller.start(reconnecting=True) == setup
    caller.ask("Hello?")
    question = caller.press("12")
    assert caller.start(reconnecting=True) == (*setup, *question)


def test_the_handshake_is_signed_as_twilio_does_it() -> None:
    headers = relay(secret="tok").build_headers(URL)
    assert headers == {"X-Twilio-Signature": str(RequestValidator("tok").compute_signature(URL, {}))}
    assert relay(secret="tok").build_url(URL) == URL


def test_behind_a_proxy_the_public_address_is_signed() -> None:
    caller = relay(secret="tok", public=URL)
    assert caller.build_headers("ws://127.0.0.1:8080/twilio/relay") == relay(secret="tok").build_headers(URL)


def test_a_forged_handshake_bears_another_signature() -> None:
    for caller in (relay(secret="tok"), relay()):
        forged = caller.build_headers(URL, forged=True)
        assert forged.keys() == {"X-Twilio-Signature"}
        assert forged != caller.build_headers(URL)


def test_without_a_secret_and_at_telnyx_nothing_is_proven() -> None:
    assert relay().build_headers(URL) == {}
    telnyx = relay(secret="tok", flavour="telnyx")
    assert (telnyx.build_headers(URL), telnyx.build_headers(URL, forged=True), telnyx.parameters) == ({}, {}, {})


def test_a_call_with_a_secret_shows_a_ticket_of_its_own() -> None:
    caller = relay(secret="tok", now=1e9, parameters={"table": "7"})
    [setup] = frames(caller.start(reconnecting=False))
    shown = setup["customParameters"]
    assert shown.keys() == {"voicegw", "table"}
    assert ticket.verify("tok", shown["voicegw"], f"CA{ID}", 1e9 + 60)
    assert not ticket.verify("tok", shown["voicegw"], "CA2", 1e9 + 60)


def test_calls_have_names_of_their_own() -> None:
    assert SimulatedConversationRelay(told()).call_ids != SimulatedConversationRelay(told()).call_ids


def test_words_belong_to_the_newest_question_and_those_before_it_greet() -> None:
    caller = relay()
    caller.start(reconnecting=False)
    assert caller.receive(text("Hi!", True)) == (TextHeard(None, "Hi!"), AnswerEnded(None))
    caller.ask("Hello?")
    assert caller.receive(text("One")) == (TextHeard(0, "One"),)
    assert caller.receive(text(" two.", True)) == (TextHeard(0, " two."), AnswerEnded(0))
    caller.ask("And?")
    assert caller.receive(text("Three.", True)) == (TextHeard(1, "Three."), AnswerEnded(1))


def test_an_empty_token_may_close_the_cycle_of_the_question_before() -> None:
    caller = asked()
    caller.receive(text("We are"))
    caller.ask("When?")
    assert caller.receive(text("", True)) == ()
    assert caller.receive(text("At nine.")) == (TextHeard(1, "At nine."),)
    assert caller.receive(text("", True)) == (TextHeard(1, ""), AnswerEnded(1))


def test_whoever_does_not_close_the_cycle_before_is_understood_too() -> None:
    caller = asked()
    caller.receive(text("We are"))
    caller.ask("When?")
    assert caller.receive(text("At nine.")) == (TextHeard(1, "At nine."),)
    assert caller.receive(text("", True)) == (TextHeard(1, ""), AnswerEnded(1))


def test_after_an_interruption_the_cycle_may_be_closed_and_words_are_late() -> None:
    caller = asked()
    caller.receive(text("We are"))
    caller.interrupt("We")
    assert caller.receive(text("", True)) == (TextHeard(0, ""), AnswerEnded(0))
    assert caller.receive(text(" open.")) == (TextHeard(0, " open."),)


def test_actions_are_noted_and_the_end_hangs_up() -> None:
    caller = asked()
    for frame in (
        {"type": "play", "source": "https://a.example/b.mp3", "loop": 2, "preemptible": True},
        {"type": "sendDigits", "digits": "1w2#"},
        {"type": "language", "ttsLanguage": "de-DE"},
        {"type": "config", "whatever": {}},
    ):
        assert caller.receive(json.dumps(frame)) == (ActionSeen(0, str(frame["type"]), json.dumps(frame)),)
    caller.receive(text("Bye.", True))
    end = '{"type":"end","handoffData":"{}"}'
    assert caller.receive(end) == (ActionSeen(0, "end", end), HangUpSeen())


def test_a_call_may_end_without_a_word() -> None:
    assert asked().receive('{"type":"end"}') == (ActionSeen(0, "end", '{"type":"end"}'), AnswerEnded(0), HangUpSeen())


@pytest.mark.parametrize(
    ("frame", "why"),
    [
        (b"\x00\x01", "a binary frame of 2 bytes"),
        ("hi", "no JSON: 'hi'"),
        ("[1]", "JSON, but no object: '[1]'"),
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
def test_what_twilio_does_not_take_is_wrong_and_said_how(frame: str | bytes, why: str) -> None:
    assert asked().receive(frame) == (Violation("frames", why),)


def test_telnyx_does_not_know_twilio_s_newer_frames() -> None:
    caller = asked(relay(flavour="telnyx"))
    assert caller.receive('{"type":"hints"}') == (Violation("frames", "a frame of unknown type: 'hints'"),)


# Whatever comes

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(["type", "token", "last", "source", "loop", "digits", "ttsLanguage", "handoffData"])
KINDS = st.sampled_from(["text", "play", "sendDigits", "language", "end", "config", "hints", "setup"])
ANY = st.one_of(
    st.text(),
    st.binary(),
    VALUES.map(json.dumps),
    st.dictionaries(KEYS, VALUES | KINDS, max_size=5).map(json.dumps),
    st.builds(lambda kind, rest: json.dumps({**rest, "type": kind}), KINDS, st.dictionaries(KEYS, VALUES)),
)
DOES = st.sampled_from(["ask", "partial", "interrupt", "press", "again"])


@given(st.lists(st.one_of(ANY, DOES), max_size=12))
def test_nothing_that_comes_is_too_much_for_it(steps: list[str | bytes]) -> None:
    caller = relay()
    items = {check.item for check in caller.checks}
    turns = -1
    caller.start(reconnecting=False)
    for step in steps:
        if step in ("ask", "press"):
            turns += 1
        heard = _do(caller, step)
        assert all(found.item in items for found in heard if isinstance(found, Violation))
        numbers = {found.turn for found in heard if isinstance(found, TextHeard | AnswerEnded | ActionSeen)}
        assert numbers <= {turns if turns >= 0 else None}


def _do(caller: SimulatedConversationRelay, step: str | bytes) -> Iterable[Any]:
    match step:
        case "ask":
            caller.ask("Hello?")
        case "partial":
            caller.encode_partial("Hel")
        case "interrupt":
            caller.interrupt("He")
        case "press":
            caller.press("1")
        case "again":
            caller.start(reconnecting=True)
        case _:
            return caller.receive(step)
    return ()


@pytest.mark.parametrize(
    "frame", ['{"type":' + "[" * 900 + "]" * 900 + "}", "[" * 100_000, "1" * 5000, '"\\ud800"']
)
def test_deep_and_long_frames_are_no_more_than_wrong(frame: str) -> None:
    [wrong] = asked().receive(frame)
    assert isinstance(wrong, Violation)
    assert len(wrong.reason) < 120


def test_its_nonsense_asks_for_nothing() -> None:
    found = [decode_frame(frame) for frame in MALFORMED_FRAMES]
    kinds = {str(frame.get("type")) for frame in found if isinstance(frame, dict)}
    assert not kinds & {"setup", "prompt", "interrupt", "dtmf"}
    assert {"weather", "info"} <= kinds
