"""What servers say about their failures, in every shape."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicegw.agents.client.error_body import error_from_body, error_from_object, to_text
from voicegw.errors import AgentBusy, AgentError

LIST = b"[" * 900 + b"]" * 900


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<h1>Bad</h1>", "<h1>Bad</h1>"),
        (b"", ""),
        (b'{"detail":"no"}', "no"),
        (b'"x"', "x"),
        (b"\xff", "\ufffd"),
    ],
)
def test_an_error_body_of_any_kind_has_words(body: bytes, words: str) -> None:
    assert error_from_body(body).quote == words


def test_what_is_nested_absurdly_is_an_error_without_words() -> None:
    for body in (LIST, b'{"error":' * 900 + b"1" + b"}" * 900):
        assert str(error_from_body(body)) == "the server reported an error"
    assert error_from_body(b'{"error": {"type": ' + LIST + b', "message": "no"}}').quote == "no"


def test_what_is_no_text_is_quoted_as_json() -> None:
    assert to_text("a") == "a"
    assert to_text({"a": [1]}) == '{"a":[1]}'
    assert error_from_object({"code": 429, "message": ["wait"]}).quote == '["wait"]'


def test_a_kind_counts_wherever_it_stands() -> None:
    for error in ({"type": "rate_limit_error"}, {"code": 503}, {"status": "429"}):
        assert type(error_from_object(error)) is AgentBusy


@given(st.binary(max_size=20) | st.text('[]{}:,"e1 ', max_size=40).map(str.encode))
def test_no_body_is_anything_but_an_agent_error(body: bytes) -> None:
    assert isinstance(error_from_body(body), AgentError)
