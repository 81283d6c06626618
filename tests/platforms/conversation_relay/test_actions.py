"""Actions of the agent as frames of ConversationRelay; invalid ones do nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.platforms.conversation_relay.frames import action_call, frames, make_turn
from voicegw.calls.codec import (
    ACTIONS,
)
from voicegw.events import ToolCall

LONG = "0w9#*" * 12 + "1234"
VALID_ACTIONS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("send_digits", {"digits": LONG}, {"type": "sendDigits", "digits": LONG}),
    ("send_digits", {"digits": "12-3 4#"}, {"type": "sendDigits", "digits": "1234#"}),
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
            {"number": "+1 (555) 010-0199"},
            {"reasonCode": "transfer_call", "number": "+15550100199"},
        ),
        (
            "transfer_call",
            {"number": "+49 30 123456", "reason": 'say "hi" \ud83d'},
            {"reasonCode": "transfer_call", "number": "+4930123456", "reason": 'say "hi" \ufffd'},
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
    "+15550100",
    "+1234567890123456",
    15550199,
    "+15550100199 or +15550100198",
)
NO_DIGITS = ("", " ", "1A", "1,2", "1" * 65, "١", 12, None)
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
    ("transfer_call", {"number": "+15550100199", "reason": ["no"]}),
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
