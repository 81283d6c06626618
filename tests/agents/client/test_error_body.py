"""Errors that servers report, in every shape."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicegw.agents.client.error_body import (
    describe_code,
    error_class_from_report,
    error_from_body,
    error_from_object,
    to_text,
)
from voicegw.errors import AgentBusy, AgentError, AgentRejected, AgentTimeout

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
def test_quote_is_found_in_every_kind_of_body(body: bytes, words: str) -> None:
    assert error_from_body(body).quote == words


def test_deeply_nested_error_has_no_quote() -> None:
    for body in (LIST, b'{"error":' * 900 + b"1" + b"}" * 900):
        assert str(error_from_body(body)) == "the server reported an error"
    assert error_from_body(b'{"error": {"type": ' + LIST + b', "message": "no"}}').quote == "no"


def test_value_that_is_no_text_becomes_json() -> None:
    assert to_text("a") == "a"
    assert to_text({"a": [1]}) == '{"a":[1]}'
    assert error_from_object({"code": 429, "message": ["wait"]}).quote == '["wait"]'


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"type": "rate_limit_error"}, AgentBusy),
        ({"code": 503}, AgentBusy),
        ({"status": "429"}, AgentBusy),
        ({"code": "request_timeout"}, AgentTimeout),
        ({"type": "authentication_error"}, AgentRejected),
        ({"code": "invalid_api_key"}, AgentRejected),
        ({"type": "server_error", "message": "a rate limit"}, AgentError),
        ({"message": "HTTP 429: rate limit exceeded"}, AgentBusy),
        ("Error code: 401 - no key", AgentRejected),
        ({"message": "the model timed out"}, AgentTimeout),
        ({"message": "no luck"}, AgentError),
    ],
)
def test_type_code_or_status_decides_the_error_or_else_its_words(error: Any, kind: type[AgentError]) -> None:
    assert type(error_from_object(error)) is kind


@pytest.mark.parametrize(
    ("code", "report", "kind"),
    [
        ("rate_limited", "slow", AgentBusy),
        ("run.timeout", "", AgentTimeout),
        (None, {"type": "overloaded_error"}, AgentBusy),
        ("run.failed", {"type": "provider", "message": "HTTP 429"}, AgentBusy),
        ("run.failed", "no luck", AgentError),
        (None, "", AgentError),
    ],
)
def test_code_of_a_failed_run_decides_or_else_its_report(
    code: Any, report: Any, kind: type[AgentError]
) -> None:
    assert error_class_from_report(code, report) is kind


@given(st.binary(max_size=20) | st.text('[]{}:,"e1 ', max_size=40).map(str.encode))
def test_every_body_becomes_an_agent_error(body: bytes) -> None:
    assert isinstance(error_from_body(body), AgentError)


@pytest.mark.parametrize(
    ("code", "words", "texts"),
    [
        ("rate_limited", "slow down", ("X reported rate_limited", "slow down")),
        ("LLMError", "", ("X reported LLMError", "")),
        ("card-4111", "no", ("X reported an error", "card-4111: no")),
        ("5" * 200, "", ("X reported an error", "5" * 80)),
        ("", "no", ("X reported an error", "no")),
        ("", "", ("X reported an error", "")),
    ],
)
def test_code_that_may_be_a_caller_s_words_is_quoted(code: str, words: str, texts: tuple[str, str]) -> None:
    assert describe_code("X reported", code, "an error", words) == texts
