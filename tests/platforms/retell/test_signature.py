"""Retell's signatures, compared with the official library."""

from __future__ import annotations

import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicegw.platforms.retell.signature import verify_retell_signature

KEY, NOW = "key_0123456789", 1_763_640_000_000
BODY = b'{"event":"call_ended","call":{"call_id":"call_a1b2"}}'


HEADER = f"v={NOW},d=593f6803ccda6d05afcf518d5a244f540b384fc8ff5d81c59f02a4d04e499235"


MINUTES = 60_000


def test_signature_fits_its_body_key_and_time() -> None:
    assert verify_retell_signature(HEADER, BODY, KEY, NOW)
    assert not verify_retell_signature(HEADER, BODY + b" ", KEY, NOW)
    assert not verify_retell_signature(HEADER, BODY, KEY + "x", NOW)
    assert not verify_retell_signature(HEADER.replace(f"{NOW}", f"{NOW + 1}"), BODY, KEY, NOW)
    assert not verify_retell_signature(HEADER[:-1] + "6", BODY, KEY, NOW)


def test_key_and_body_may_hold_any_character() -> None:
    digest = "2934fc50a871dbe0c841d22e49660087bcbbf20f9b17fedcade2d543e8fe3815"
    assert verify_retell_signature(f"v={NOW},d={digest}", '{"name":"Zoë"}'.encode(), "schlüssel", NOW)
    assert not verify_retell_signature(HEADER, b"\xff", "\udcff", NOW)


@pytest.mark.parametrize(
    ("delay", "valid"),
    [
        (5 * MINUTES, True),
        (5 * MINUTES + 1, False),
        (-5 * MINUTES, True),
        (-5 * MINUTES - 1, False),
        (0, True),
    ],
)
def test_signature_is_valid_for_five_minutes_either_way(delay: int, valid: bool) -> None:
    assert verify_retell_signature(HEADER, BODY, KEY, NOW + delay) is valid


@pytest.mark.parametrize(
    "header",
    [
        "",
        "v=,d=",
        HEADER.upper(),
        HEADER + " ",
        HEADER + "\n",
        " " + HEADER,
        HEADER.replace("v=", "v=-"),
        HEADER.replace(",", ", "),
        HEADER.split(",")[1],
        HEADER.replace("1", "١"),
        f"v={'9' * 5000},{HEADER.split(',')[1]}",
    ],
)
def test_malformed_header_is_invalid(header: str) -> None:
    assert not verify_retell_signature(header, BODY, KEY, NOW)


@given(
    st.text(max_size=20),
    st.text(min_size=1, max_size=10),
    st.integers(0, 10**15),
    st.integers(-400_000, 400_000),
)
def test_library_agrees(body: str, key: str, timestamp: int, delay: int) -> None:
    auth = pytest.importorskip("retell.lib.webhook_auth", reason="retell-sdk is not installed").symmetric
    header = auth["sign"](body, key, timestamp)
    expected = auth["verify"](body, key, header, {"timestamp": timestamp + delay})
    assert verify_retell_signature(header, body.encode(), key, timestamp + delay) is expected
    assert not verify_retell_signature(header, body.encode() + b"x", key, timestamp)


def test_without_a_key_no_signature_is_valid() -> None:
    digest = hmac.digest(b"", BODY + str(NOW).encode(), "sha256").hex()
    assert not verify_retell_signature(f"v={NOW},d={digest}", BODY, "", NOW)


@given(st.text(), st.binary(), st.text(min_size=1))
def test_any_header_is_refused_without_an_exception(header: str, body: bytes, key: str) -> None:
    assert not verify_retell_signature(header, body, key, NOW)
