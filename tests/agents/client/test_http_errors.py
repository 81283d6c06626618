"""Errors for refusals, with the words of the server and without secrets."""

from __future__ import annotations

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.agents.upstream import Action, Piece, Upstream, chunk, chunked_head, http_response
from voicegw.agents.client import http_errors as http_errors
from voicegw.agents.client.http import HttpClient
from voicegw.agents.client.http_errors import (
    collect_secrets,
    error_class,
    error_from_response,
    extract_quote,
    redact,
)
from voicegw.errors import (
    AgentBusy,
    AgentError,
    AgentProtocolError,
    AgentRejected,
    AgentTimeout,
    AgentUnavailable,
)

KEY = "k3y-of-the-house"


@pytest.mark.parametrize(
    ("statuses", "error"),
    [
        ((401, 403, 404), AgentRejected),
        ((429, 503), AgentBusy),
        ((408, 504), AgentTimeout),
        ((500, 502, 529), AgentUnavailable),
        ((200, 400, 409, 422, 426), AgentProtocolError),
    ],
)
def test_status_decides_the_error_class(statuses: tuple[int, ...], error: type[AgentError]) -> None:
    assert {error_class(status) for status in statuses} == {error}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", ""),
        (b'{"error": {"message": "No  such\\nmodel"}}', "No such model"),
        (b'{"detail": "Not Found"}', "Not Found"),
        (b"<h1>Bad</h1>\xff", "<h1>Bad</h1>\N{REPLACEMENT CHARACTER}"),
        (b'"no"', "no"),
        (b"[" * 1020 + b"]" * 1020, ""),
        (b'{"error": {"x": ' + b"[" * 500 + b"]" * 500 + b"}}", ""),
        (b" " * http_errors.MAX_ERROR_BODY_BYTES + b"too late", ""),
        (b"x" * 1000, "x" * 300),
    ],
)
def test_quote_holds_the_words_of_the_server(body: bytes, said: str) -> None:
    assert extract_quote(body) == said


@given(st.binary() | st.text('[]{}:,"\\ud8e1', max_size=60).map(str.encode))
def test_quote_is_short_for_every_body(body: bytes) -> None:
    assert len(extract_quote(body)) <= 300


def test_long_values_and_parts_after_a_scheme_are_secrets() -> None:
    assert collect_secrets((None, "", "short", f"Bearer {KEY}", KEY, "Basic abc", "a=b; c=defghi")) == [
        f"Bearer {KEY}",
        KEY,
        "Basic abc",
        "a=b; c=defghi",
        KEY,
    ]


def redacted(summary: str, quote: str, *hidden: str | None) -> str:
    error = AgentRejected(summary, quote)
    redact(error, collect_secrets(hidden))
    assert (error.summary, error.quote) == (str(error).partition(": ")[0], str(error).partition(": ")[2])
    return str(error)


@pytest.mark.parametrize(
    ("hidden", "said", "left"),
    [
        (KEY, f"the key {KEY}, {KEY}", "the key ***, ***"),
        (f"Bearer {KEY}", f"got Bearer {KEY}", "got ***"),
        (f"Bearer {KEY}", f"no key {KEY}", "no key ***"),
        (f"Bearer {KEY}", "expected Bearer", "expected Bearer"),
        (f"Bearer {KEY}", f"got Bearer {KEY[:9]}", "got ***"),
        (KEY, KEY[:-1], "***"),
        (KEY, f"x{KEY[:6]}", "x***"),
        (KEY, KEY[:5], KEY[:5]),
        ("a/b+c d=", "?token=a%2Fb%2Bc%20d%3D", "?token=***"),
        ("a=b; c=defghi", "a=b; c=d", "***"),
        ("short", "short", "short"),
        (None, "nothing", "nothing"),
    ],
)
def test_secret_in_the_quote_is_redacted(hidden: str | None, said: str, left: str) -> None:
    assert redacted("It", said, hidden) == f"It: {left}"


def test_secret_in_the_summary_is_redacted() -> None:
    assert redacted(f"It redirects to /?k={KEY}", "", KEY) == "It redirects to /?k=***"


def test_secret_within_another_one_is_redacted_whole() -> None:
    assert redacted("It", f"{KEY}-and-more", KEY, f"{KEY}-and-more") == "It: ***"


def test_short_values_are_not_redacted() -> None:
    error = AgentRejected("It said", "abc")
    redact(error, ["", "abc"])
    assert str(error) == "It said: abc"


@given(st.text("ab ", min_size=6, max_size=9), st.text("ab ", max_size=30), st.integers(0, 30))
def test_no_secret_remains_at_any_cut_of_the_quote(secret: str, said: str, cut: int) -> None:
    error = AgentError("x", f"{said}{secret}{said}"[:cut])
    redact(error, [secret])
    assert secret not in error.quote
    assert str(error) == (f"x: {error.quote}" if error.quote else "x")


async def error_of(*reply: Piece | Action) -> AgentError:
    async with Upstream(reply) as upstream:
        client = HttpClient(upstream.url)
        try:
            async with client.request("GET", "/", {}) as response:
                return await error_from_response(response, "It")
        finally:
            await client.aclose()


@pytest.mark.wire
async def test_refusal_becomes_an_error_with_its_quote() -> None:
    error = await error_of(http_response(b'{"error": "wrong key"}', status="401 No"))
    assert (type(error), str(error)) == (AgentRejected, "It answered 401: wrong key")


@pytest.mark.wire
async def test_compressed_refusal_becomes_an_error_without_quote() -> None:
    error = await error_of(http_response(gzip.compress(b"no"), "content-encoding: gzip", status="401 No"))
    assert (type(error), str(error)) == (AgentRejected, "It answered 401")


@pytest.mark.wire
@pytest.mark.parametrize("end", [Action.CLOSE, Action.RESET])
async def test_refusal_with_a_cut_body_keeps_its_status(end: Action) -> None:
    error = await error_of(http_response(b"no such", status="404 No")[:-2], 0.05, end)
    assert (type(error), str(error)) == (AgentRejected, "It answered 404: no su")


@pytest.mark.wire
async def test_slow_error_body_is_read_until_the_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_errors, "ERROR_BODY_TIMEOUT", 0.05)
    error = await error_of(chunked_head(status="429 No") + chunk(b"later"), Action.HANG)
    assert (type(error), str(error)) == (AgentBusy, "It answered 429: later")


@pytest.mark.wire
async def test_endless_error_body_is_read_up_to_the_limit() -> None:
    flood = (chunk(b"x" * 4096),) * 8
    error = await error_of(chunked_head(status="500 No"), *flood, Action.HANG)
    assert (type(error), str(error)) == (AgentUnavailable, f"It answered 500: {'x' * 300}")
