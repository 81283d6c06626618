"""A target is the address in its URL, on this machine unless others are allowed."""

from __future__ import annotations

import json

import pytest

from loadtests.generate.target import Target


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080", "http://127.0.0.1:8080/v1/chat/completions"])
def test_a_base_url_and_a_full_url_are_the_same_target(url: str) -> None:
    assert Target.from_url(url) == Target.from_url("http://127.0.0.1:8080/v1/") == Target("target", 8080)


def test_another_machine_needs_anywhere() -> None:
    for host in (
        "example.org",
        "10.0.0.1",
        "127.0.0.1.example.org",
        "127.0.0.1@example.org",
        "0.0.0.0",
        "[::]",
    ):
        with pytest.raises(ValueError, match="is not this machine"):
            Target.from_url(f"http://{host}/v1")
    assert Target.from_url("https://example.org/api", anywhere=True) == Target(
        "target", 443, "example.org", "/api/chat/completions", tls=True
    )
    assert [Target.from_url(f"http://{host}/").port for host in ("localhost", "[::1]", "127.9.9.9")] == [
        80,
        80,
        80,
    ]


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://127.0.0.1", "http://", ""])
def test_an_invalid_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="is not the URL of a server"):
        Target.from_url(url)


def test_an_ipv6_address_stands_in_brackets() -> None:
    assert b"\r\nhost: [::1]:80\r\n" in Target.from_url("http://[::1]/").encode_request("voice")


def test_a_request_has_its_call_id_and_content_length() -> None:
    head, _, body = Target("", 1, key="k").encode_request("voice", "call-7", "Hi").partition(b"\r\n\r\n")
    assert b"\r\nx-voicegw-call: call-7\r\n" in head
    assert b"\r\nauthorization: Bearer k\r\n" in head
    assert f"content-length: {len(body)}".encode() in head
    assert json.loads(body)["messages"][-1] == {"role": "user", "content": "Hi"}
    assert b"x-voicegw-call" not in Target("", 1).encode_request("voice")
