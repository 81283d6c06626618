from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicegw.platforms.twilio.ticket import GOOD_FOR, issue, verify

SECRET, CALL, NOW = "a secret", "CA0123456789abcdef0123456789abcdef", 1_790_000_000.25
TICKET = issue(SECRET, CALL, NOW)


def test_a_ticket_is_good_for_its_call_for_as_long_as_one_lasts() -> None:
    for now, good in (
        (NOW, True),
        (NOW + GOOD_FOR, True),
        (NOW + GOOD_FOR + 0.001, False),
        (NOW + 9e9, False),
    ):
        assert verify(SECRET, TICKET, CALL, now) is good


def test_a_ticket_can_be_good_for_a_shorter_time() -> None:
    ticket = issue(SECRET, CALL, NOW, 0.5)
    assert verify(SECRET, ticket, CALL, NOW + 0.5)
    assert not verify(SECRET, ticket, CALL, NOW + 0.501)


@pytest.mark.parametrize(
    ("secret", "call"), [("another", CALL), (SECRET, "CA1"), (SECRET, ""), (SECRET, CALL + " "), ("", CALL)]
)
def test_it_is_good_for_no_other_call_and_no_other_house(secret: str, call: str) -> None:
    assert not verify(secret, TICKET, call, NOW)


def test_without_a_secret_nothing_is_ours_not_even_what_was_signed_so() -> None:
    assert not verify("", issue("", CALL, NOW), CALL, NOW)


def test_nobody_can_make_it_last_longer() -> None:
    until, seal = TICKET.split(".")
    for forged in (
        f"{int(until) + 1}.{seal}",
        f"0{until}.{seal}x",
        f"{until}.{seal.upper()}",
        f"{until}.{seal[:-1]}",
    ):
        assert not verify(SECRET, forged, CALL, NOW)


@pytest.mark.parametrize("place", range(len(TICKET)))
def test_every_character_counts(place: int) -> None:
    other = "1" if TICKET[place] == "0" else "0"
    assert not verify(SECRET, TICKET[:place] + other + TICKET[place + 1 :], CALL, NOW)


def test_it_shows_neither_the_call_nor_the_secret() -> None:
    assert CALL not in TICKET
    assert SECRET not in TICKET


@given(st.text(), st.text(st.characters()), st.text(st.characters()))
def test_whatever_is_shown_is_judged_and_never_raises(secret: str, ticket: str, call: str) -> None:
    assert not verify(secret, ticket, call, NOW)
    assert verify(secret, issue(secret, call, NOW), call, NOW) is bool(secret)
