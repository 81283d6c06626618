"""Telephone numbers in usual spellings, and the numbers to which an agent may transfer a call."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicegw.security.transfer_policy import TransferPolicy, TransferRefused, region_of

POLICY, GERMAN, AMERICAN = TransferPolicy(), TransferPolicy("DE"), TransferPolicy("US")


@pytest.mark.parametrize(
    ("policy", "number", "dialed"),
    [
        (POLICY, "+4930123456", "+4930123456"),
        (POLICY, " +49 30 123-456\n", "+4930123456"),
        (POLICY, "+49 (0)30 123 456", "+4930123456"),
        (POLICY, "tel:+49-30-123456", "+4930123456"),
        (POLICY, "＋４９\u00a0３０ １２３４５６", "+4930123456"),
        (POLICY, "+٤٩ ٣٠ ١٢٣٤٥٦", "+4930123456"),
        (POLICY, "+1 (555) 010-0199", "+15550100199"),
        (POLICY, "+39 06 1234567", "+39061234567"),
        (POLICY, "+800 1234 5678", "+80012345678"),
        (GERMAN, "030/123456", "+4930123456"),
        (GERMAN, "(030) 123 456", "+4930123456"),
        (GERMAN, "0049 30 123456", "+4930123456"),
        (GERMAN, "+1-212-736-5000", "+12127365000"),
        (AMERICAN, "(212) 736-5000", "+12127365000"),
        (AMERICAN, "1.212.736.5000", "+12127365000"),
        (AMERICAN, "011 49 30 123456", "+4930123456"),
        (TransferPolicy("GB"), "020 7946 0958", "+442079460958"),
        (TransferPolicy("FR"), "01 42 68 53 00", "+33142685300"),
        (TransferPolicy("AU"), "0011 49 30 123456", "+4930123456"),
    ],
)
def test_number_in_a_usual_spelling_becomes_e164(policy: TransferPolicy, number: str, dialed: str) -> None:
    assert policy.resolve(number) == dialed
    assert policy.resolve(dialed) == dialed


@pytest.mark.parametrize(
    ("policy", "number", "reason"),
    [
        (POLICY, "", "no telephone number"),
        (POLICY, "my boss", "no telephone number"),
        (POLICY, "sip:alice@example.com", "no telephone number"),
        (POLICY, "+1 555 010 0199 ext. 5", "no telephone number"),
        (POLICY, "+49 30 123456;postd=1", "no telephone number"),
        (POLICY, "call +49 30 123456 please", "no telephone number"),
        (POLICY, "+1" + " " * 60 + "555", "no telephone number"),
        (POLICY, "\ud83d", "no telephone number"),
        (POLICY, "+", "invalid or incomplete"),
        (POLICY, "()", "invalid or incomplete"),
        (POLICY, "+49+30123456", "invalid or incomplete"),
        (POLICY, "+49 30 123456 / +49 30 99", "invalid or incomplete"),
        (POLICY, "+15550100", "invalid or incomplete"),
        (POLICY, "+4930123456789012", "invalid or incomplete"),
        (POLICY, "+0555 123456", "invalid or incomplete"),
        (POLICY, "030 123456", "invalid or incomplete"),
        (TransferPolicy("XX"), "030 123456", "invalid or incomplete"),
        (GERMAN, "112", "invalid or incomplete"),
        (AMERICAN, "911", "invalid or incomplete"),
        (AMERICAN, "089 1234567", "invalid or incomplete"),
        (AMERICAN, "736-5000", "invalid or incomplete"),
    ],
)
def test_other_text_is_refused_with_the_reason(policy: TransferPolicy, number: str, reason: str) -> None:
    with pytest.raises(TransferRefused, match=reason):
        policy.resolve(number)


def test_premium_rate_numbers_need_an_entry() -> None:
    for policy, number in ((GERMAN, "0900 1 234567"), (POLICY, "+1 900 234 5678")):
        with pytest.raises(TransferRefused, match="Premium-rate"):
            policy.resolve(number)
    assert TransferPolicy(allowed=["+49900*"]).resolve("+49 900 1 234567") == "+499001234567"


def test_only_listed_numbers_and_prefixes_are_allowed() -> None:
    policy = TransferPolicy("DE", ["030 123456", "+4489*"])
    assert policy.resolve("+4930123456") == "+4930123456"
    assert policy.resolve("+44 891 234 5678").startswith("+4489")
    for number in ("+49301234567", "+49 30 12345", "+1 212 736 5000", "+4930123457"):
        with pytest.raises(TransferRefused):
            policy.resolve(number)


@pytest.mark.parametrize("entry", ["my boss", "0900", "*", "+*", "4930*", "+49*30", "+15550100", ""])
def test_entry_that_is_no_number_and_no_prefix_is_an_error(entry: str) -> None:
    with pytest.raises(ValueError, match="neither a number"):
        TransferPolicy("DE", ["+4930123456", entry])


def test_region_is_that_of_the_language() -> None:
    tags = ("de-DE", "en-US", "zh-Hant-TW", "es-419", "en", "")
    assert [region_of(tag) for tag in tags] == ["DE", "US", "TW", "", "", ""]
    assert [TransferPolicy(region).knows_region for region in ("DE", "XX", "")] == [True, False, False]


@given(st.text(st.characters(exclude_categories=())) | st.text(" +-()/0123456789", max_size=30))
def test_any_text_is_resolved_or_refused(text: str) -> None:
    with suppress(TransferRefused):
        number = GERMAN.resolve(text)
        assert number[0] == "+"
        assert number[1:].isdigit()
        assert 5 <= len(number) <= 16
        assert GERMAN.resolve(number) == number


def test_gateway_without_transfers_does_not_import_the_library() -> None:
    check = "import sys, voicegw.app.create; sys.exit('phonenumbers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check]).returncode == 0
