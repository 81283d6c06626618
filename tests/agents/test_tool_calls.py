"""Tool calls in pieces become whole ones, or errors."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.agents.bedrock.frames import block_delta
from voicegw.agents import tool_calls
from voicegw.agents.anthropic.decoder import MessagesDecoder
from voicegw.agents.bedrock.decoder import ConverseDecoder
from voicegw.agents.bedrock.eventstream import EventStreamParser
from voicegw.agents.tool_calls import MAX_TOOL_CALLS, ToolCallGatherer
from voicegw.errors import AgentProtocolError
from voicegw.events import ToolCall
from voicegw.wire.sse import ServerSentEvent


class Piece(NamedTuple):
    """One piece of a stream; `position` is its place among the pieces of one chunk."""

    index: int | None = 0
    id: str = ""
    name: str = ""
    arguments: Any = ""
    position: int = 0


def gather(*pieces: Piece, is_cut: bool = False) -> list[ToolCall]:
    gatherer = ToolCallGatherer("t1")
    for piece in pieces:
        gatherer.add(piece.index, piece.position, piece.id, piece.name, piece.arguments)
    return gatherer.end(is_cut=is_cut)


# One call


@pytest.mark.parametrize(
    ("texts", "arguments"),
    [
        ((), "{}"),
        (("", " \n"), "{}"),
        (('{"x"', ":", "1}"), '{"x":1}'),
        ((' {"x": 1}\n',), '{"x": 1}'),
        (('{"x":"}', '\\"{"', "}"), '{"x":"}\\"{"}'),
        (('{"x":"\ud83d', '\ude00"}'), '{"x":"😀"}'),
        ((r'{"x":"\ud83d"}',), r'{"x":"\ud83d"}'),
    ],
)
def test_pieces_are_joined_to_one_object(texts: tuple[str, ...], arguments: str) -> None:
    pieces = [Piece(arguments=text) for text in texts]
    assert gather(Piece(id="a", name="f"), *pieces) == [ToolCall("a", "f", arguments)]


def test_call_without_an_id_gets_one() -> None:
    assert gather(Piece(name="f", arguments="{}")) == [ToolCall("t1_1", "f")]


def test_id_and_name_may_arrive_after_the_arguments() -> None:
    assert gather(Piece(arguments="{}"), Piece(id="b", name="g")) == [ToolCall("b", "g")]


def test_call_without_a_name_raises_a_protocol_error() -> None:
    with pytest.raises(AgentProtocolError, match=r"^a tool call without a name$"):
        gather(Piece(arguments="{}"))


@pytest.mark.parametrize("texts", [['{"x"'], ["[1]"], ["null"], ["{}", "{}"], [7], ["{", {}], ["[" * 5000]])
def test_arguments_that_are_no_object_raise_a_protocol_error(texts: list[Any]) -> None:
    with pytest.raises(AgentProtocolError, match=r"^the arguments of a tool are no JSON object: f$"):
        gather(Piece(name="f"), *(Piece(arguments=text) for text in texts))


@pytest.mark.parametrize(
    ("text", "fault"),
    [("", "the answer was cut before the arguments of a tool"), ('{"x"', "the arguments of a tool are no")],
)
def test_cut_call_raises_a_protocol_error_instead_of_empty_arguments(text: str, fault: str) -> None:
    with pytest.raises(AgentProtocolError, match=fault):
        gather(Piece(name="f", arguments=text), is_cut=True)


@given(st.lists(st.text('{}[]":,x1\\ \ud800', max_size=4), max_size=4))
def test_whole_call_always_has_an_object_as_arguments(texts: list[str]) -> None:
    with suppress(AgentProtocolError):
        [call] = gather(Piece(name="f"), *(Piece(arguments=text) for text in texts))
        assert isinstance(orjson.loads(call.arguments), dict)


# Several calls, as servers send them

F, G = ToolCall("a", "f", '{"q":1}'), ToolCall("b", "g", '{"q":2}')


@pytest.mark.parametrize(
    ("pieces", "calls"),
    [
        (  # a new id and the name in each piece
            [
                Piece(0, "t0", "f"),
                Piece(0, "t1", "f", '{"q"'),
                Piece(0, "t2", "f", ":1}"),
                Piece(1, "t3", "g", '{"q":2}'),
            ],
            [ToolCall("t0", "f", '{"q":1}'), ToolCall("t3", "g", '{"q":2}')],
        ),
        (  # the name in each piece, at one index, without ids
            [Piece(0, "", "f", '{"q"'), Piece(0, "", "f", ":1}"), Piece(0, "", "f"), Piece(0, "", "g", "{}")],
            [ToolCall("t1_1", "f", '{"q":1}'), ToolCall("t1_2", "g")],
        ),
        (  # two calls of one tool, at one index, without ids
            [Piece(0, "", "f", '{"q":1}'), Piece(0, "", "f", '{"q":2}')],
            [ToolCall("t1_1", "f", '{"q":1}'), ToolCall("t1_2", "f", '{"q":2}')],
        ),
        (  # neither index nor id, and an empty first piece
            [
                Piece(None, "", "f"),
                Piece(None, "", "", "{}"),
                Piece(None, "", "f"),
                Piece(None, "", "", '{"q":1}'),
            ],
            [ToolCall("t1_1", "f"), ToolCall("t1_2", "f", '{"q":1}')],
        ),
        (  # one chunk of several pieces without an index
            [Piece(None, "", "f", "{"), Piece(None, "", "", "}", 1), Piece(None, "", "g", "{}", 2)],
            [ToolCall("t1_1", "f"), ToolCall("t1_2", "g")],
        ),
        (  # the id comes with the second piece
            [Piece(0, "", "f", '{"q"'), Piece(0, "a", "f", ":1}")],
            [F],
        ),
        (  # each call has the same id
            [
                Piece(0, "x", "f", '{"q"'),
                Piece(1, "x", "g", '{"q"'),
                Piece(0, "x", "", ":1}"),
                Piece(1, "", "", ":2}"),
            ],
            [ToolCall("x", "f", '{"q":1}'), ToolCall("t1_2", "g", '{"q":2}')],
        ),
        ([Piece(0, "a", "f", '{"q":1}'), Piece(1, "a", "f", '{"q": 1}')], [F]),
        ([Piece(0, "a", "f", "{}"), Piece(0, "b", "f", "{}")], [ToolCall("a", "f"), ToolCall("b", "f")]),
        ([Piece(0, "a", "f", "{}"), Piece(1, "b", "f", "{}")], [ToolCall("a", "f"), ToolCall("b", "f")]),
        ([Piece(0, "a", "f", "{}"), Piece(1, "", "f", "{}")], [ToolCall("a", "f"), ToolCall("t1_2", "f")]),
    ],
)
def test_deviating_pieces_become_the_calls_of_the_model(pieces: list[Piece], calls: list[ToolCall]) -> None:
    assert gather(*pieces) == calls


Call = tuple[str, dict[str, Any]]
"""A tool's name and arguments."""
Style = Callable[[Sequence[Call], Sequence[Sequence[str]]], list[list[Piece]]]
"""Writes calls, whose arguments are cut, as the pieces of each."""


def by_index(calls: Sequence[Call], cuts: Sequence[Sequence[str]]) -> list[list[Piece]]:
    return [
        [Piece(index, f"c{index}", name), *(Piece(index, "", "", text) for text in cuts[index])]
        for index, (name, _) in enumerate(calls)
    ]


def with_a_new_id_in_each_piece(calls: Sequence[Call], cuts: Sequence[Sequence[str]]) -> list[list[Piece]]:
    return [
        [
            Piece(index, f"c{index}", name),
            *(Piece(index, f"n{index}.{at}", "", text) for at, text in enumerate(cut)),
        ]
        for (index, (name, _)), cut in zip(enumerate(calls), cuts, strict=True)
    ]


def by_id(
    calls: Sequence[Call], cuts: Sequence[Sequence[str]], index: int | None = None
) -> list[list[Piece]]:
    return [
        [Piece(index, f"c{at}", name, cut[0]), *(Piece(index, f"c{at}", "", text) for text in cut[1:])]
        for (at, (name, _)), cut in zip(enumerate(calls), cuts, strict=True)
    ]


def by_id_at_index_0(calls: Sequence[Call], cuts: Sequence[Sequence[str]]) -> list[list[Piece]]:
    return by_id(calls, cuts, 0)


def with_id_and_name_in_each_piece(calls: Sequence[Call], cuts: Sequence[Sequence[str]]) -> list[list[Piece]]:
    return [
        [Piece(index, f"c{index}", name, text) for text in cuts[index]]
        for index, (name, _) in enumerate(calls)
    ]


def by_position(calls: Sequence[Call], cuts: Sequence[Sequence[str]]) -> list[list[Piece]]:
    return [
        [Piece(None, f"c{at}", name, "", at), *(Piece(None, "", "", text, at) for text in cuts[at])]
        for at, (name, _) in enumerate(calls)
    ]


INTERLEAVED_STYLES: list[Style] = [
    by_index,
    with_a_new_id_in_each_piece,
    by_id,
    by_id_at_index_0,
    with_id_and_name_in_each_piece,
    by_position,
]
ARGUMENTS = st.dictionaries(
    st.text('a"\\{}', max_size=3),
    st.recursive(st.integers(-9, 9) | st.text('x"\\{}[] é😀', max_size=5), st.lists, max_leaves=3),
    max_size=3,
)
CALLS = st.lists(st.tuples(st.sampled_from("fgh"), ARGUMENTS), min_size=1, max_size=4)


def cut(data: st.DataObject, text: str) -> list[str]:
    places = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=4)))
    pieces = [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]
    return pieces if pieces[0] else pieces[1:] or pieces


def interleave(data: st.DataObject, lists: list[list[Piece]]) -> list[Piece]:
    """Mix the pieces; those of one call keep their order, and calls begin in theirs."""
    rest, mixed, begun = [list(pieces) for pieces in lists], [], 0
    while any(rest):
        open_calls = [at for at in range(min(begun + 1, len(rest))) if rest[at]]
        at = data.draw(st.sampled_from(open_calls))
        begun = max(begun, at + 1)
        mixed.append(rest[at].pop(0))
    return mixed


def named(calls: Sequence[ToolCall]) -> list[Call]:
    return [(call.name, orjson.loads(call.arguments)) for call in calls]


@pytest.mark.parametrize("style", INTERLEAVED_STYLES, ids=lambda style: style.__name__)
@given(CALLS, st.data())
def test_any_interleaving_and_cutting_gives_the_same_calls(
    style: Style, calls: list[Call], data: st.DataObject
) -> None:
    pieces = style(calls, [cut(data, orjson.dumps(arguments).decode()) for _, arguments in calls])
    mixed = interleave(data, pieces)
    assert named(gather(*mixed)) == calls
    repeated = [
        Piece(0, f"c{at}", name, orjson.dumps(arguments).decode())
        for at, (name, arguments) in enumerate(calls)
    ]
    assert named(gather(*mixed, *repeated)) == calls


@given(CALLS, st.booleans(), st.sampled_from([0, None]))
def test_whole_calls_at_one_index_are_all_gathered(
    calls: list[Call], has_ids: bool, index: int | None
) -> None:
    unique = [call for at, call in enumerate(calls) if has_ids or call not in calls[:at]]
    pieces = [
        Piece(index, f"c{at}" if has_ids else "", name, orjson.dumps(arguments).decode())
        for at, (name, arguments) in enumerate(unique)
    ]
    assert named(gather(*pieces)) == unique
    assert named(gather(*pieces, *pieces)) == unique


@given(
    st.lists(
        st.builds(
            Piece,
            st.sampled_from([0, 1, None]),
            st.sampled_from(["", "a", "b"]),
            st.sampled_from(["", "f", "g"]),
            st.text('{}":1x\\', max_size=4),
            st.integers(0, 1),
        ),
        max_size=8,
    )
)
def test_any_pieces_give_unique_whole_calls_or_a_protocol_error(pieces: list[Piece]) -> None:
    with suppress(AgentProtocolError):
        calls = gather(*pieces)
        assert len({call.id for call in calls}) == len(calls)
        assert all(call.name and isinstance(orjson.loads(call.arguments), dict) for call in calls)


# Names in pieces

TOOLS = ("get", "get_weather", "find_table", "dada", "da")


@pytest.mark.parametrize(
    ("pieces", "names"),
    [
        ([Piece(0, "a", "find_"), Piece(0, "", "table", "{}")], ["find_table"]),
        ([Piece(0, "a", "find_"), Piece(0, "a", "table"), Piece(0, "", "", "{}")], ["find_table"]),
        ([Piece(0, "a", "find_"), Piece(0, "b", "table", "{}")], ["find_table"]),
        (
            [
                Piece(None, "a", "fi"),
                Piece(None, "b", "get_", position=1),
                Piece(None, "a", "nd_table", "{}"),
                Piece(None, "b", "weather", "{}", 1),
            ],
            ["find_table", "get_weather"],
        ),
        ([Piece(0, "a", "get"), Piece(0, "", "_"), Piece(0, "", "weather", "{}")], ["get_weather"]),
        (
            [Piece(0, "a", "f"), Piece(0, "", "i"), *(Piece(0, "", letter) for letter in "nd_table")],
            ["find_table"],
        ),
        ([Piece(0, "a", "get"), Piece(0, "b", "get_weather")], ["get", "get_weather"]),
        ([Piece(0, "a", "da"), Piece(0, "a", "da", "{}")], ["da"]),
        ([Piece(0, "a", "get", "{}"), Piece(0, "b", "_weather", "{}")], ["get", "_weather"]),
        ([Piece(0, "a", "new_"), Piece(0, "b", "tool")], ["new_", "tool"]),
    ],
)
def test_pieces_of_a_name_are_joined_to_that_of_a_known_tool(pieces: list[Piece], names: list[str]) -> None:
    gatherer = ToolCallGatherer(tool_names=TOOLS)
    for piece in pieces:
        gatherer.add(piece.index, piece.position, piece.id, piece.name, piece.arguments)
    assert [call.name for call in gatherer.end()] == names


@given(CALLS, st.data())
def test_any_cutting_of_names_gives_the_same_calls(calls: list[Call], data: st.DataObject) -> None:
    long_names = {"f": "find_table", "g": "get_weather", "h": "book"}
    calls = [(long_names[name], arguments) for name, arguments in calls]
    lists = [
        [
            *(Piece(index, f"c{index}" if not at else "", part) for at, part in enumerate(cut(data, name))),
            *(Piece(index, "", "", part) for part in cut(data, orjson.dumps(arguments).decode())),
        ]
        for index, (name, arguments) in enumerate(calls)
    ]
    gatherer = ToolCallGatherer(tool_names=long_names.values())
    for piece in interleave(data, lists):
        gatherer.add(piece.index, piece.position, piece.id, piece.name, piece.arguments)
    assert named(gatherer.end()) == calls


# Explicit blocks


def test_closed_calls_are_returned_in_their_order() -> None:
    gatherer = ToolCallGatherer()
    gatherer.start(0, "a", "f")
    gatherer.start(1, "b", "g")
    assert gatherer.append(0, '{"q":1}')
    assert gatherer.append(1, '{"q":2}')
    assert gatherer.close(1) == []
    assert gatherer.close(0) == [F, G]
    assert (gatherer.count, gatherer.end()) == (2, [])


def test_closed_call_without_arguments_waits_for_the_end() -> None:
    for is_cut in (False, True):
        gatherer = ToolCallGatherer()
        gatherer.start(0, "a", "f")
        assert gatherer.close(0) == []
        if is_cut:
            with pytest.raises(AgentProtocolError, match="was cut before the arguments of a tool: f"):
                gatherer.end(is_cut=True)
        else:
            assert gatherer.end() == [ToolCall("a", "f")]


def test_default_arguments_count_only_without_pieces() -> None:
    gatherer = ToolCallGatherer()
    gatherer.start(0, "a", "f", '{"y":2}')
    gatherer.start(1, "b", "f", '{"y":2}')
    gatherer.append(0, "{}")
    assert [*gatherer.close(0), *gatherer.close(1)] == [ToolCall("a", "f"), ToolCall("b", "f", '{"y":2}')]


def test_piece_without_an_open_call_is_refused() -> None:
    gatherer = ToolCallGatherer()
    assert not gatherer.append(0, "{}")
    assert gatherer.close(0) == []
    gatherer.start(0, "a", "f")
    gatherer.close(0)
    assert not gatherer.append(0, "{}")


@pytest.mark.parametrize(
    ("text", "is_partial"), [("", False), ('{"x":[', True), ('{"x":"}', True), ('{"x":1}', False)]
)
def test_partial_arguments_are_known(text: str, is_partial: bool) -> None:
    gatherer = ToolCallGatherer()
    gatherer.add(0, 0, "a", "f", text)
    assert gatherer.has_partial_call is is_partial


# Limits


def test_number_of_calls_is_limited() -> None:
    pieces = [Piece(at, f"c{at}", "f", orjson.dumps({"at": at}).decode()) for at in range(MAX_TOOL_CALLS + 1)]
    assert len(gather(*pieces[:-1])) == MAX_TOOL_CALLS
    with pytest.raises(AgentProtocolError, match=f"^more than {MAX_TOOL_CALLS} tool calls$"):
        gather(*pieces)


def test_size_of_all_arguments_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool_calls, "MAX_ARGUMENT_CHARS", 1000)
    gather(*(Piece(at, "a", "f", '{"x":"' + "x" * 200 + '"}') for at in (0, 1)))
    for pieces in ([Piece(0, "a", "f", "x" * 999)], [Piece(at, str(at)) for at in range(4)]):
        with pytest.raises(AgentProtocolError, match="tool calls with more than 1000 characters"):
            gather(*pieces)
    with pytest.raises(AgentProtocolError, match="more than 1000"):
        ToolCallGatherer().start(0, "a", "f", "x" * 999)
    with pytest.raises(AgentProtocolError, match="more than 1000"):
        gather(*(Piece(0, str(number), "f" if number == 0 else "", "") for number in range(50)))


def test_unfinished_arguments_in_many_pieces_take_little_more_than_their_text() -> None:
    gatherer = ToolCallGatherer()
    tracemalloc.start()
    gatherer.add(0, 0, "a", "f", '{"x":"')
    for number in range(20_000):
        gatherer.add(0, 0, "a", "f", f"{number:05}")
    size, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (size < 250_000, peak < 500_000) == (True, True)
    gatherer.add(0, 0, "", "", '"}')
    assert not gatherer.has_partial_call
    assert len(gatherer.end()[0].arguments) == 100_000 + len('{"x":""}')


def test_arguments_without_a_block_raise_instead_of_being_lost() -> None:
    delta = {"type": "input_json_delta", "partial_json": '{"q":1}'}
    event = {"type": "content_block_delta", "index": 1, "delta": delta}
    with pytest.raises(AgentProtocolError, match="a tool call that did not begin"):
        MessagesDecoder().feed(ServerSentEvent("", orjson.dumps(event)))
    [frame] = EventStreamParser().feed(block_delta(1, toolUse={"input": '{"q":1}'}))
    with pytest.raises(AgentProtocolError, match="a tool call that did not begin"):
        ConverseDecoder().feed(frame)
