"""Twilio's handshakes, signed by the official library."""

from __future__ import annotations

from typing import Any

import pytest
from twilio.request_validator import RequestValidator, get_signature_algorithm

from tests.platforms.handshakes import REMOTE_CLIENTS, REMOTE_HEADERS, handshake_scope, refusal
from voicegw.errors import Forbidden, NotFound
from voicegw.platforms.twilio.handshake import TwilioSignatureAuth

PUBLIC, TOKEN, SHARED = "https://voice.example.com", "t0ken", "sh4red"
PATH = "/twilio/relay"
URL = "wss://voice.example.com/twilio/relay"
SHA256 = "key=K1,algorithm=HMAC_SHA256"
TWILIO = TwilioSignatureAuth(PUBLIC, TOKEN, SHARED)


def signed(
    url: str = URL, fields: dict[str, str] | None = None, token: str = TOKEN, settings: str | None = None
) -> dict[str, str]:
    """Return the headers that Twilio sends, with the signature of the official library."""
    signature = RequestValidator(token).compute_signature(
        url, fields or {}, get_signature_algorithm(settings)
    )
    more = {} if settings is None else {"x-twilio-webhooks-signature-settings": settings}
    return {**REMOTE_HEADERS, "x-twilio-signature": str(signature), **more}


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        (signed(), ""),
        (signed("wss://voice.example.com:443/twilio/relay"), ""),
        (signed(URL + "?a=1&b=%20"), "a=1&b=%20"),
        (signed(URL, {"a": "1", "b": " "}), "a=1&b=%20"),
        (signed(token=SHARED, settings=SHA256), ""),
    ],
    ids=["plain", "port", "query", "query as fields", "sha-256"],
)
def test_signature_of_the_library_is_accepted(headers: dict[str, str], query: str) -> None:
    assert refusal(TWILIO, handshake_scope(PATH, query, "192.0.2.7", **headers)) is None


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ({}, ""),
        (signed(token="other"), ""),
        (signed("wss://evil.example/twilio/relay"), ""),
        (signed("https://voice.example.com/twilio/relay"), ""),
        (signed(URL + "?a=1"), "a=2"),
        (signed(token=TOKEN, settings=SHA256), ""),
        (signed(token=SHARED), ""),
        ({**signed(), "x-twilio-webhooks-signature-settings": "algorithm=NONE"}, ""),
        ({**signed(), "x-twilio-signature": ""}, ""),
        ({**signed(), "x-twilio-signature": "é"}, ""),
    ],
)
def test_invalid_signature_is_refused_also_from_this_machine(headers: dict[str, str], query: str) -> None:
    assert refusal(TWILIO, handshake_scope(PATH, query, **headers)) is Forbidden


def test_each_algorithm_needs_its_own_secret() -> None:
    auth = TwilioSignatureAuth(PUBLIC, TOKEN)
    assert refusal(auth, handshake_scope(PATH, **signed())) is None
    assert refusal(auth, handshake_scope(PATH, **signed(token="", settings=SHA256))) is Forbidden
    auth = TwilioSignatureAuth(PUBLIC, "", SHARED)
    assert refusal(auth, handshake_scope(PATH, **signed(token=SHARED, settings=SHA256))) is None
    assert refusal(auth, handshake_scope(PATH, **signed(token=""))) is Forbidden


def test_without_a_public_url_the_host_header_is_used() -> None:
    auth = TwilioSignatureAuth("", TOKEN)
    headers = signed("ws://voice.example.com/twilio/relay")
    assert refusal(auth, handshake_scope(PATH, **headers)) is None
    assert refusal(auth, {**handshake_scope(PATH, **headers), "headers": []}) is Forbidden


@pytest.mark.parametrize(
    "path", ["/twilio", "/twilio/", "/twilio/relay/", "/twilio/relay/x", "/twilio/voice"]
)
def test_other_path_is_not_found(path: str) -> None:
    headers = signed(f"wss://voice.example.com{path}")
    assert refusal(TWILIO, handshake_scope(path, **headers)) is NotFound


@pytest.mark.parametrize("remote", REMOTE_CLIENTS)
def test_without_a_secret_only_this_machine_may_connect(remote: dict[str, Any]) -> None:
    auth = TwilioSignatureAuth()
    auth(handshake_scope(PATH))
    with pytest.raises(Forbidden):
        auth(handshake_scope(PATH, **remote))


def test_secrets_are_not_in_the_representation() -> None:
    secret = "0123456789abcdef"
    assert secret not in repr(TwilioSignatureAuth("", secret, secret))
