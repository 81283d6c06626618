"""Arguments of actions as agents spell them."""

from __future__ import annotations

import re

import pytest

from voicegw.calls.action_arguments import (
    ActionRefused,
    parse_arguments,
    parse_digits,
    parse_transfer_number,
)
from voicegw.events import ToolCall
from voicegw.security.transfer_policy import TransferPolicy
from voicegw.turns.prompts import ACTION_NOT_POSSIBLE, NOT_DONE

KEYS = re.compile("[0-9#]{1,4}")


def test_arguments_are_a_json_object() -> None:
    assert parse_arguments(ToolCall("1", "end_call", '{"reason": "done"}')) == {"reason": "done"}
    for arguments in ("", "[]", "bye", "\ud83d"):
        with pytest.raises(ActionRefused, match=f"^{re.escape(ACTION_NOT_POSSIBLE)}$"):
            parse_arguments(ToolCall("1", "end_call", arguments))


@pytest.mark.parametrize(("digits", "keys"), [("12#", "12#"), ("1 2-3\u00a0#", "123#")])
def test_separators_between_digits_are_left_out(digits: str, keys: str) -> None:
    assert parse_digits({"digits": digits}, KEYS) == keys


@pytest.mark.parametrize("digits", ["", " ", "12345", "one", "1,2", 12, None])
def test_other_digits_are_refused(digits: object) -> None:
    with pytest.raises(ActionRefused):
        parse_digits({"digits": digits}, KEYS)


def test_transfer_number_is_resolved_by_the_policy() -> None:
    policy = TransferPolicy("DE", ["+4930*"])
    assert parse_transfer_number({"number": "030 123456"}, policy) == "+4930123456"
    with pytest.raises(ActionRefused, match=f"^{NOT_DONE}This number is not among those"):
        parse_transfer_number({"number": "+12127365000"}, policy)
    for number in (4930123456, None):
        with pytest.raises(ActionRefused, match=f"^{re.escape(ACTION_NOT_POSSIBLE)}$"):
            parse_transfer_number({"number": number}, policy)
    with pytest.raises(ActionRefused, match=f"^{re.escape(ACTION_NOT_POSSIBLE)}$"):
        parse_transfer_number({"number": "+4930123456"}, None)
