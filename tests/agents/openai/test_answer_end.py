"""The state of an answer, from the reasons and pieces in its chunks."""

from __future__ import annotations

import pytest

from voicegw.agents.finish_reasons import AnswerState
from voicegw.agents.openai.answer_end import AnswerEnd
from voicegw.agents.tool_calls import ToolCallGatherer
from voicegw.events import Reason

OPEN, MAYBE, ENDED = AnswerState.OPEN, AnswerState.MAYBE_ENDED, AnswerState.ENDED
Chunk = tuple[Reason | None, bool]
"""The reason of a chunk, and whether it has a piece of the answer."""


def state_after(chunks: list[Chunk], arguments: str | None = None) -> AnswerState:
    """Return the state after chunks; `arguments` are those that a tool call has so far."""
    end, calls = AnswerEnd(), ToolCallGatherer()
    if arguments is not None:
        calls.add(0, 0, "a", "f", arguments)
    for reason, has_piece in chunks:
        if reason is None:
            end.note_unmarked(has_piece=has_piece)
        else:
            end.note_reason(reason, calls, has_piece=has_piece)
    return end.state


@pytest.mark.parametrize(
    ("chunks", "state"),
    [
        ([], OPEN),
        ([(None, True)], OPEN),
        ([(None, True), ("stop", False)], ENDED),
        ([(None, False), ("stop", False)], ENDED),
        ([(None, True), ("stop", True)], ENDED),
        ([("stop", False)], MAYBE),
        ([("stop", True)], MAYBE),
        ([(None, False), ("stop", True)], MAYBE),
        ([("stop", True), ("stop", True)], MAYBE),
        ([("stop", True), ("stop", False)], ENDED),
        ([(None, True), ("stop", False), (None, True)], OPEN),
        ([(None, True), ("stop", False), (None, False)], ENDED),
        ([("length", True)], MAYBE),
    ],
)
def test_reason_is_certain_beside_a_piece_without_one(chunks: list[Chunk], state: AnswerState) -> None:
    assert state_after(chunks) is state


@pytest.mark.parametrize(
    ("arguments", "certain", "uncertain"),
    [("", ENDED, OPEN), ("{", OPEN, OPEN), ("{}", ENDED, MAYBE)],
)
def test_missing_arguments_keep_an_answer_open(
    arguments: str, certain: AnswerState, uncertain: AnswerState
) -> None:
    assert state_after([(None, True), ("tool_calls", False)], arguments) is certain
    assert state_after([("tool_calls", True)], arguments) is uncertain


def test_cut_answer_has_ended_also_in_arguments() -> None:
    assert state_after([(None, True), ("length", False)], "{") is ENDED


def test_tools_of_the_server_and_errors_keep_an_answer_open() -> None:
    end = AnswerEnd()
    end.note_unmarked(has_piece=True)
    end.note_server_tools()
    assert (end.state, end.reason) == (OPEN, "tool_calls")
    end.note_reason("stop", ToolCallGatherer(), has_piece=False)
    end.note_error()
    assert end.state is OPEN
    end.note_done()
    assert end.state is ENDED
