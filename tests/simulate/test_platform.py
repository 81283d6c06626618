"""Functions that all platforms share: decoding and encoding frames."""

from __future__ import annotations

from typing import Any

import pytest

from voicegw.simulate.platform import abbreviate, decode_frame, encode_frame


@pytest.mark.parametrize(
    ("frame", "found"),
    [
        ('{"type":"text"}', {"type": "text"}),
        ('\ufeff{"a":"\\ud800"}', {"a": "�"}),
        ("[1]", "JSON, but not an object: '[1]'"),
        ("", "not JSON: ''"),
        ("{" + "x" * 99, "not JSON: '{" + "x" * 39 + "'"),
        ("\ud800", "not JSON: '\\ud800'"),
        ("NaN", "not JSON: 'NaN'"),
        ("[" * 100_000, f"not JSON: '{'[' * 40}'"),
        (b"{}", "a binary frame of 2 bytes"),
    ],
)
def test_frame_is_decoded_or_described(frame: str | bytes, found: Any) -> None:
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
def test_values_are_abbreviated(value: Any, words: str) -> None:
    assert abbreviate(value) == words


def test_encoded_frame_keeps_non_ascii_letters() -> None:
    assert encode_frame(type="prompt", voicePrompt="Grüße") == '{"type": "prompt", "voicePrompt": "Grüße"}'
