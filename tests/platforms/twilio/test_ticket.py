from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicegw.platforms.twilio.ticket import TICKET_TTL, issue, verify

SECRET, CALL, NOW = "a secret", "CA0123456789abcdef0123456789abcdef", 1_790_000_000.25
TICKET = issue(SECRET, CALL, NOW)


def test_ticket_is_valid_for_its_call_until_it_expires() -> None:
    for now, valid in (
        (NOW, True),
        (NOW + TICKET_TTL, True),
        (NOW + TICKET_TTL + 0.001, False),
        (NOW + 9e9, False),
    ):
        assert verify(SECRET, TICKET, CALL, now) is valid


def test_ttl_can_be_shorter() -> None:
    ticket = issue(SECRET, CALL, NOW, 0.5)
    assert verify(SECRET, ticket, CALL, NOW + 0.5)
    assert not verify(SECRET, ticket, CALL, NOW + 0.501)


@pytest.mark.parametrize(
    ("secret", "call"), [("another", CALL), (SECRET, "CA1"), (SECRET, ""), (SECRET, CALL + " "), ("", CALL)]
)
def test_ticket_is_invalid_for_another_call_or_secret(secret: str, call: str) -> None:
    assert not verify(secret, TICKET, call, NOW)


def test_without_a_secret_no_ticket_is_valid() -> None:
    assert not verify("", issue("", CALL, NOW), CALL, NOW)


def test_changed_expiry_is_invalid() -> None:
    expiry, signature = TICKET.split(".")
    for forged in (
        f"{int(expiry) + 1}.{signature}",
        f"0{expiry}.{signature}x",
        f"{expiry}.{signature.upper()}",
        f"{expiry}.{signature[:-1]}",
    ):
        assert not verify(SECRET, forged, CALL, NOW)


@pytest.mark.parametrize("index", range(len(TICKET)))
def test_every_changed_character_is_invalid(index: int) -> None:
    other = "1" if TICKET[index] == "0" else "0"
    assert not verify(SECRET, TICKET[:index] + other + TICKET[index + 1 :], CALL, NOW)


def test_ticket_holds_neither_the_call_nor_the_secret() -> None:
    assert CALL not in TICKET
    assert SECRET not in TICKET


@given(st.text(), st.text(st.characters()), st.text(st.characters()))
def test_any_ticket_is_verified_without_an_exception(secret: str, ticket: str, call: str) -> None:
    assert not verify(secret, ticket, call, NOW)
    assert verify(secret, issue(secret, call, NOW), call, NOW) is bool(secret)
