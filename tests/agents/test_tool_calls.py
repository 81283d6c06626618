"""Tool calls in pieces become whole ones, or errors."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicegw.agents.tool_calls import ToolCallBuilder
from voicegw.errors import AgentProtocolError
from voicegw.events import ToolCall


def build(*pieces: Any, id: str = "a", name: str = "f", **options: str) -> ToolCall:
    call = ToolCallBuilder(id, name, **options)
    for piece in pieces:
        call.add_arguments(piece)
    return call.build("fallback_1")


@pytest.mark.parametrize(
    ("pieces", "arguments"),
    [
        ((), "{}"),
        (("", " \n"), "{}"),
        (('{"x"', ":", "1}"), '{"x":1}'),
        ((' {"x": 1}\n',), '{"x": 1}'),
        ((r'{"x":"\ud83d"}',), r'{"x":"\ud83d"}'),
    ],
)
def test_pieces_are_joined_to_one_object(pieces: tuple[str, ...], arguments: str) -> None:
    assert build(*pieces) == ToolCall("a", "f", arguments)


def test_default_arguments_count_only_without_pieces() -> None:
    assert build(" ", default_arguments='{"y":2}') == ToolCall("a", "f", '{"y":2}')
    assert build("{}", default_arguments='{"y":2}') == ToolCall("a", "f", "{}")


def test_id_and_name_may_arrive_after_the_arguments() -> None:
    call = ToolCallBuilder()
    call.add_arguments("{}")
    call.id, call.name = "b", "g"
    assert call.build("fallback_1") == ToolCall("b", "g", "{}")


def test_call_without_an_id_gets_the_fallback_id() -> None:
    assert build(id="") == ToolCall("fallback_1", "f", "{}")


def test_call_without_a_name_raises_a_protocol_error() -> None:
    with pytest.raises(AgentProtocolError, match=r"^a tool call without a name$"):
        build("{}", name="")


@pytest.mark.parametrize(
    "pieces", [['{"x"'], ["[1]"], ["null"], ["{}", "{}"], [7], ["{", None], ["[" * 5000]]
)
def test_arguments_that_are_no_object_raise_a_protocol_error(pieces: list[Any]) -> None:
    with pytest.raises(AgentProtocolError, match=r"^the arguments of tool 'f' are no JSON object$"):
        build(*pieces)


def test_default_arguments_that_are_no_object_raise_a_protocol_error() -> None:
    with pytest.raises(AgentProtocolError, match="no JSON object"):
        build(default_arguments="[1]")


@given(st.lists(st.text('{}[]":,x1 \ud800', max_size=4), max_size=4))
def test_whole_call_always_has_an_object_as_arguments(pieces: list[str]) -> None:
    with suppress(AgentProtocolError):
        assert isinstance(orjson.loads(build(*pieces).arguments), dict)
