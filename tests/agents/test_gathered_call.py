"""One tool call in pieces: where its arguments end, and which calls are the same."""

from __future__ import annotations

import pytest

from voicegw.agents.gathered_call import GatheredCall, join_pieces, may_be_same


def gather(*pieces: str, id: str = "", slot: int = 0, name: str = "book") -> GatheredCall:
    call = GatheredCall(slot, slot, id, name)
    call.ids |= {id} - {""}
    call.pieces += pieces
    return call


@pytest.mark.parametrize(
    ("pieces", "is_whole"),
    [
        ((), False),
        ((" ",), False),
        (("{",), False),
        (("{}",), True),
        (('{"a":"}', '"}'), True),
        (('{"a":"\\', '"}', '"}'), True),
        (('{"a":"\\\\"', "}"), True),
        (('{"a":[{', "}]"), False),
    ],
)
def test_arguments_are_whole_when_brackets_and_strings_are_closed(
    pieces: tuple[str, ...], is_whole: bool
) -> None:
    call = gather()
    for piece in pieces:
        call.pieces.append(piece)
        call.is_whole  # noqa: B018 - each read goes on where the one before stopped
    assert call.is_whole is gather(*pieces).is_whole is is_whole


def test_default_arguments_count_without_a_piece() -> None:
    call = gather()
    call.default_arguments = '{"a":1}'
    assert (call.text, call.is_whole) == ('{"a":1}', True)
    call.pieces.append('{"b":2}')
    assert call.text == '{"b":2}'


def test_neighbours_of_one_place_are_joined_until_the_arguments_are_whole() -> None:
    calls = join_pieces([gather('{"a"', id="1"), gather(":1}", id="2"), gather("{}", id="3")])
    assert [(call.text, call.ids) for call in calls] == [('{"a":1}', {"1", "2"}), ("{}", {"3"})]


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        (gather(id="1"), gather(id="1", slot=1), True),
        (gather(id="1"), gather(id="2"), False),
        (gather(id="1"), gather(), True),
        (gather(), gather(slot=1), False),
        (gather(), gather(name="cancel"), False),
    ],
)
def test_calls_are_the_same_by_id_or_by_place(one: GatheredCall, other: GatheredCall, is_same: bool) -> None:
    assert may_be_same(one, other) is is_same
