"""Retell's signatures are checked as its own library does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicegw.platforms.retell.signature import verify_retell_signature

KEY, NOW = "key_0123456789", 1_763_640_000_000
BODY = b'{"event":"call_ended","call":{"call_id":"call_a1b2"}}'


SEALED = f"v={NOW},d=593f6803ccda6d05afcf518d5a244f540b384fc8ff5d81c59f02a4d04e499235"


MINUTES = 60_000


def test_a_retell_signature_fits_its_body_its_key_and_its_time() -> None:
    assert verify_retell_signature(SEALED, BODY, KEY, NOW)
    assert not verify_retell_signature(SEALED, BODY + b" ", KEY, NOW)
    assert not verify_retell_signature(SEALED, BODY, KEY + "x", NOW)
    assert not verify_retell_signature(SEALED.replace(f"{NOW}", f"{NOW + 1}"), BODY, KEY, NOW)
    assert not verify_retell_signature(SEALED[:-1] + "6", BODY, KEY, NOW)


def test_a_key_and_a_body_may_hold_any_character() -> None:
    digest = "2934fc50a871dbe0c841d22e49660087bcbbf20f9b17fedcade2d543e8fe3815"
    assert verify_retell_signature(f"v={NOW},d={digest}", '{"name":"Zoë"}'.encode(), "schlüssel", NOW)
    assert not verify_retell_signature(SEALED, b"\xff", "\udcff", NOW)


@pytest.mark.parametrize(
    ("late", "good"),
    [
        (5 * MINUTES, True),
        (5 * MINUTES + 1, False),
        (-5 * MINUTES, True),
        (-5 * MINUTES - 1, False),
        (0, True),
    ],
)
def test_a_retell_signature_is_good_for_five_minutes_either_way(late: int, good: bool) -> None:
    assert verify_retell_signature(SEALED, BODY, KEY, NOW + late) is good


@pytest.mark.parametrize(
    "header",
    [
        "",
        "v=,d=",
        SEALED.upper(),
        SEALED + " ",
        SEALED + "\n",
        " " + SEALED,
        SEALED.replace("v=", "v=-"),
        SEALED.replace(",", ", "),
        SEALED.split(",")[1],
        SEALED.replace("1", "١"),
        f"v={'9' * 5000},{SEALED.split(',')[1]}",
    ],
)
def test_a_header_of_another_form_is_no_signature(header: str) -> None:
    assert not verify_retell_signature(header, BODY, KEY, NOW)


@given(
    st.text(max_size=20),
    st.text(min_size=1, max_size=10),
    st.integers(0, 10**15),
    st.integers(-400_000, 400_000),
)
def test_retell_s_own_library_agrees(body: str, key: str, stamp: int, late: int) -> None:
    auth = pytest.importorskip("retell.lib.webhook_auth", reason="retell-sdk is not installed").symmetric
    header = auth["sign"](body, key, stamp)
    judged = auth["verify"](body, key, header, {"timestamp": stamp + late})
    assert verify_retell_signature(header, body.encode(), key, stamp + late) is judged
    assert not verify_retell_signature(header, body.encode() + b"x", key, stamp)
