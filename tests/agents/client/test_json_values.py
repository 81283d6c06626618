"""Values of servers' JSON, of the expected type and of others."""

from __future__ import annotations

from typing import Any

import pytest

from voicegw.agents.client.json_values import count_or_zero, decode_object, error_in_value, text_or_empty
from voicegw.errors import AgentBusy, AgentError, AgentProtocolError


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"{}", {}),
        (b'{"a": [1, null]}', {"a": [1, None]}),
        (rb'{"a": "x\ud83d"}', {"a": "x\ud83d"}),
        (rb'{"a": "\ud83dx"}', {"a": "\N{REPLACEMENT CHARACTER}x"}),
    ],
)
def test_object_is_decoded(data: bytes, value: dict[str, Any]) -> None:
    assert decode_object(data, "an event") == value


@pytest.mark.parametrize("data", [b"", b"{", b'{"a": NaN}', b"\xff", b"[" * 5000])
def test_data_that_is_no_json_raises_a_protocol_error_with_the_position(data: bytes) -> None:
    with pytest.raises(AgentProtocolError, match=r"^no JSON where an event should be: .*line \d"):
        decode_object(data, "an event")


@pytest.mark.parametrize(
    ("data", "kind"), [(b"[]", "list"), (b'"{}"', "str: {}"), (b"1", "int"), (b"null", "NoneType")]
)
def test_json_of_another_type_raises_a_protocol_error_with_the_type(data: bytes, kind: str) -> None:
    with pytest.raises(AgentProtocolError, match=rf"^a chunk that is no object but {kind}$"):
        decode_object(data, "a chunk")


@pytest.mark.parametrize(("value", "text"), [("a", "a"), ("", ""), (None, ""), (1, ""), (["a"], "")])
def test_value_that_is_no_text_is_an_empty_one(value: object, text: str) -> None:
    assert text_or_empty(value) == text


@pytest.mark.parametrize(
    ("value", "count"), [(7, 7), (0, 0), (-7, 0), (True, 0), (7.0, 0), ("7", 0), (None, 0), ([7], 0)]
)
def test_value_that_is_no_count_is_zero(value: object, count: int) -> None:
    assert count_or_zero(value) == count


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ({"error": {"type": "overloaded_error"}}, AgentBusy),
        ([{"error": "no luck"}], AgentError),
        ({"id": 1}, AgentProtocolError),
        ("rate limit", AgentProtocolError),
        (None, AgentProtocolError),
    ],
)
def test_error_of_a_value_is_the_one_that_it_reports(value: object, kind: type[AgentError]) -> None:
    error = error_in_value(value, "http://h", "sent no id")
    assert type(error) is kind
    problem = "sent no id" if kind is AgentProtocolError else "reported an error"
    assert error.summary == f"http://h {problem}"
