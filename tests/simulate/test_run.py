"""URLs that a simulation may call, the secrets in its report, and the registry of platforms."""

from __future__ import annotations

import pytest

from voicegw.errors import ConfigError
from voicegw.simulate.connection import HandshakeRejected
from voicegw.simulate.platform import SimulationSetup, WebSocketEntry
from voicegw.simulate.platforms.registry import PLATFORMS
from voicegw.simulate.run import DEFAULT_SETUP, check_url, mask_path, redact, simulate
from voicegw.simulate.script import DEFAULT_SCRIPT, CallScript

QUICK_SCRIPT = CallScript.model_validate({"patience": {"connect": 0.2}, "turns": [{"say": "Hello?"}]})


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:8080", "[::1]:8080", "gw.localhost"])
def test_loopback_addresses_are_allowed(host: str) -> None:
    assert check_url(f"ws://{host}/x", is_websocket=True, allow_remote=False) == f"ws://{host}/x"


@pytest.mark.parametrize("host", ["example.com", "192.0.2.7", "127.0.0.1.example.com", "0x7f000001.example"])
def test_remote_addresses_need_allow_remote(host: str) -> None:
    with pytest.raises(ConfigError, match="--anywhere"):
        check_url(f"http://{host}/v1", is_websocket=False, allow_remote=False)
    assert check_url(f"http://{host}/v1", is_websocket=False, allow_remote=True) == f"http://{host}/v1"


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:8080", "ftp://127.0.0.1", "ws://", "ws://[", "ws://127.0.0.1:x/", "http:///v1"]
)
def test_invalid_urls_are_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="URL"):
        check_url(url, is_websocket=True, allow_remote=True)


def test_http_platforms_need_an_http_url() -> None:
    with pytest.raises(ConfigError, match="http://, https://"):
        check_url("ws://127.0.0.1/v1", is_websocket=False, allow_remote=False)


def test_query_is_removed_and_user_or_fragment_is_refused() -> None:
    shown = check_url("http://127.0.0.1/v1?key=secret", is_websocket=False, allow_remote=False)
    assert shown == "http://127.0.0.1/v1"
    for url in ("http://me:secret@127.0.0.1/v1", "http://127.0.0.1/v1#secret", "ws://secret@127.0.0.1/"):
        with pytest.raises(ConfigError, match="must not contain a user") as refused:
            check_url(url, is_websocket=True, allow_remote=False)
        assert "secret" not in str(refused.value)


def test_secrets_are_redacted_in_the_report() -> None:
    text = {"a": ["Bearer s3cret!", {"b": "s3cret"}], "n": 1.5, "none": None}
    assert redact(text, ("s3cret",)) == {"a": ["Bearer …!", {"b": "…"}], "n": 1.5, "none": None}


@pytest.mark.wire
@pytest.mark.parametrize("platform", PLATFORMS)
def test_unreachable_gateway_is_a_failure_without_secrets_in_the_report(platform: str) -> None:
    found = simulate(
        platform,
        "http://127.0.0.1:1/s3cret/path",
        QUICK_SCRIPT,
        SimulationSetup("" if PLATFORMS[platform].secret_in_url else "s3cret-too"),
    )
    assert not found.has_passed
    assert "connect" in found.recording.failure.lower() or "refused" in found.recording.failure.lower()
    text = found.as_text()
    assert "s3cret-too" not in text
    if platform in ("telnyx", "retell"):
        assert "s3cret" not in text


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("ws://127.0.0.1/telnyx/s3cret/relay", "ws://127.0.0.1/telnyx/…/relay"),
        ("ws://127.0.0.1/retell/", "ws://127.0.0.1/retell/"),
        ("ws://127.0.0.1", "ws://127.0.0.1"),
    ],
)
def test_only_possible_secrets_in_the_path_are_masked(address: str, shown: str) -> None:
    assert mask_path(address, {"telnyx", "relay", "retell"}) == shown


@pytest.mark.parametrize("name", PLATFORMS)
def test_every_platform_is_registered_under_its_own_name(name: str) -> None:
    entry = PLATFORMS[name]
    if isinstance(entry, WebSocketEntry):
        platform = entry.make(DEFAULT_SCRIPT, DEFAULT_SETUP, 0.0)
        assert (entry.name, platform.name) == (name, name)
    else:
        assert (entry.name, entry.make(DEFAULT_SCRIPT, "http://127.0.0.1", DEFAULT_SETUP).name) == (
            name,
            name,
        )


def test_secret_in_the_url_is_masked_only_on_platforms_without_another_proof() -> None:
    assert {name for name, entry in PLATFORMS.items() if entry.secret_in_url} == {"telnyx", "retell"}


def test_status_200_is_described_as_a_web_page() -> None:
    assert str(HandshakeRejected(200)) == "it answered as a web page (200), not as a websocket"
