"""What refusals mean, in the server's words and without our secrets."""

from __future__ import annotations

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.agents.upstream import Action, Piece, Upstream, chunk, chunked_head, http_response
from voicegw.agents.client import http_errors as complaints
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
def test_a_status_has_a_meaning(statuses: tuple[int, ...], error: type[AgentError]) -> None:
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
        (b" " * complaints.MAX_ERROR_BODY_BYTES + b"too late", ""),
        (b"x" * 1000, "x" * 300),
    ],
)
def test_the_servers_own_words_are_found(body: bytes, said: str) -> None:
    assert extract_quote(body) == said


@given(st.binary() | st.text('[]{}:,"\\ud8e1', max_size=60).map(str.encode))
def test_no_body_is_too_strange(body: bytes) -> None:
    assert len(extract_quote(body)) <= 300


def test_a_secret_is_what_is_long_enough_and_what_follows_its_scheme() -> None:
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
def test_a_secret_is_not_repeated(hidden: str | None, said: str, left: str) -> None:
    assert redacted("It", said, hidden) == f"It: {left}"


def test_a_secret_is_not_repeated_in_our_own_words_either() -> None:
    assert redacted(f"It redirects to /?k={KEY}", "", KEY) == "It redirects to /?k=***"


def test_a_secret_within_another_leaves_nothing_of_it() -> None:
    assert redacted("It", f"{KEY}-and-more", KEY, f"{KEY}-and-more") == "It: ***"


def test_values_that_are_no_secret_hide_nothing() -> None:
    error = AgentRejected("It said", "abc")
    redact(error, ["", "abc"])
    assert str(error) == "It said: abc"


@given(st.text("ab ", min_size=6, max_size=9), st.text("ab ", max_size=30), st.integers(0, 30))
def test_no_secret_is_left_wherever_words_are_cut(secret: str, said: str, cut: int) -> None:
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
async def test_an_answer_becomes_an_error_with_its_words() -> None:
    error = await error_of(http_response(b'{"error": "wrong key"}', status="401 No"))
    assert (type(error), str(error)) == (AgentRejected, "It answered 401: wrong key")


@pytest.mark.wire
async def test_of_a_compressed_refusal_the_status_is_told() -> None:
    error = await error_of(http_response(gzip.compress(b"no"), "content-encoding: gzip", status="401 No"))
    assert (type(error), str(error)) == (AgentRejected, "It answered 401")


@pytest.mark.wire
@pytest.mark.parametrize("end", [Action.CLOSE, Action.RESET])
async def test_a_status_counts_although_its_body_is_cut(end: Action) -> None:
    error = await error_of(http_response(b"no such", status="404 No")[:-2], 0.05, end)
    assert (type(error), str(error)) == (AgentRejected, "It answered 404: no su")


@pytest.mark.wire
async def test_a_body_that_does_not_end_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(complaints, "ERROR_BODY_TIMEOUT", 0.05)
    error = await error_of(chunked_head(status="429 No") + chunk(b"later"), Action.HANG)
    assert (type(error), str(error)) == (AgentBusy, "It answered 429: later")


@pytest.mark.wire
async def test_a_body_without_end_is_read_no_further_than_it_counts() -> None:
    flood = (chunk(b"x" * 4096),) * 8
    error = await error_of(chunked_head(status="500 No"), *flood, Action.HANG)
    assert (type(error), str(error)) == (AgentUnavailable, f"It answered 500: {'x' * 300}")
