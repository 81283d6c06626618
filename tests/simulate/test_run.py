"""Where a rehearsal may call, and what it shows of an address."""

from __future__ import annotations

import pytest

from voicegw.errors import ConfigError
from voicegw.simulate.connection import HandshakeRejected
from voicegw.simulate.run import PLATFORMS, PROVING, WAYS, SimulationSetup, check_url, redact, mask_path, simulate
from voicegw.simulate.script import CallScript

QUICK = CallScript.model_validate({"patience": {"connect": 0.2}, "turns": [{"say": "Hello?"}]})


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:8080", "[::1]:8080", "gw.localhost"])
def test_this_machine_may_be_called(host: str) -> None:
    assert check_url(f"ws://{host}/x", is_websocket=True, allow_remote=False) == f"ws://{host}/x"


@pytest.mark.parametrize("host", ["example.com", "192.0.2.7", "127.0.0.1.example.com", "0x7f000001.example"])
def test_another_machine_only_if_that_is_meant(host: str) -> None:
    with pytest.raises(ConfigError, match="--anywhere"):
        check_url(f"http://{host}/v1", is_websocket=False, allow_remote=False)
    assert check_url(f"http://{host}/v1", is_websocket=False, allow_remote=True) == f"http://{host}/v1"


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:8080", "ftp://127.0.0.1", "ws://", "ws://[", "ws://127.0.0.1:x/", "http:///v1"]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="address"):
        check_url(url, is_websocket=True, allow_remote=True)


def test_posts_go_to_http_only() -> None:
    with pytest.raises(ConfigError, match="http://, https://"):
        check_url("ws://127.0.0.1/v1", is_websocket=False, allow_remote=False)


def test_no_query_is_shown_and_there_is_no_user_and_no_fragment() -> None:
    shown = check_url("http://127.0.0.1/v1?key=secret", is_websocket=False, allow_remote=False)
    assert shown == "http://127.0.0.1/v1"
    for url in ("http://me:secret@127.0.0.1/v1", "http://127.0.0.1/v1#secret", "ws://secret@127.0.0.1/"):
        with pytest.raises(ConfigError, match="no user") as refused:
            check_url(url, is_websocket=True, allow_remote=False)
        assert "secret" not in str(refused.value)


def test_secrets_that_a_gateway_sends_back_are_not_told() -> None:
    told = {"a": ["Bearer s3cret!", {"b": "s3cret"}], "n": 1.5, "none": None}
    assert redact(told, ("s3cret",)) == {"a": ["Bearer …!", {"b": "…"}], "n": 1.5, "none": None}


@pytest.mark.wire
@pytest.mark.parametrize("platform", PLATFORMS)
def test_where_nobody_answers_the_call_fails_in_words_and_shows_no_secret(platform: str) -> None:
    found = simulate(
        platform,
        "http://127.0.0.1:1/s3cret/path",
        QUICK,
        SimulationSetup("s3cret-too" if platform in PROVING else ""),
    )
    assert not found.has_passed
    assert "connect" in found.recording.failure.lower() or "refused" in found.recording.failure.lower()
    told = found.as_text()
    assert "s3cret-too" not in told
    if platform in ("telnyx", "retell"):
        assert "s3cret" not in told


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("ws://127.0.0.1/telnyx/s3cret/relay", "ws://127.0.0.1/telnyx/…/relay"),
        ("ws://127.0.0.1/retell/", "ws://127.0.0.1/retell/"),
        ("ws://127.0.0.1", "ws://127.0.0.1"),
    ],
)
def test_only_what_may_be_the_secret_in_a_path_is_hidden(address: str, shown: str) -> None:
    assert mask_path(address) == shown


def test_every_platform_has_its_ways() -> None:
    assert set(WAYS) == set(PLATFORMS)


def test_a_page_instead_of_a_websocket_is_said_to_be_one() -> None:
    assert str(HandshakeRejected(200)) == "it answered as a web page (200), not as a websocket"
