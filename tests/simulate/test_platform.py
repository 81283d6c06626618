"""What all callers share: reading a gateway's frame, and writing one."""

from __future__ import annotations

from typing import Any

import pytest

from voicegw.simulate.platform import decode_frame, abbreviate, encode_frame


@pytest.mark.parametrize(
    ("frame", "found"),
    [
        ('{"type":"text"}', {"type": "text"}),
        ('\ufeff{"a":"\\ud800"}', {"a": "�"}),
        ("[1]", "JSON, but no object: '[1]'"),
        ("", "no JSON: ''"),
        ("{" + "x" * 99, "no JSON: '{" + "x" * 39 + "'"),
        ("\ud800", "no JSON: '\\ud800'"),
        ("NaN", "no JSON: 'NaN'"),
        ("[" * 100_000, f"no JSON: '{'[' * 40}'"),
        (b"{}", "a binary frame of 2 bytes"),
    ],
)
def test_a_frame_holds_an_object_or_it_is_said_why_not(frame: str | bytes, found: Any) -> None:
    assert decode_frame(frame) == found


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("a" * 99, repr("a" * 40)),
        (None, "null"),
        (True, "true"),
        (7, "7"),
        (0.5, "0.5"),
        ([1], "a list"),
        ({}, "an object"),
    ],
)
def test_a_value_is_shown_shortly(value: Any, words: str) -> None:
    assert abbreviate(value) == words


def test_a_written_frame_keeps_every_letter() -> None:
    assert encode_frame(type="prompt", voicePrompt="Grüße") == '{"type": "prompt", "voicePrompt": "Grüße"}'
