"""The figures of each call that an agent remembers."""

from __future__ import annotations

import pytest

from voicegw.agents.openai import call_memory
from voicegw.agents.openai.call_memory import CallMemory
from voicegw.events import Usage


def test_usage_is_the_difference_of_totals() -> None:
    memory = CallMemory()
    assert memory.added_usage("a", Usage(5, 7)) == Usage(5, 7)
    assert memory.added_usage("b", Usage(1, 1)) == Usage(1, 1)
    assert memory.added_usage("a", Usage(9, 6)) == Usage(4, 0)


def test_call_is_forgotten_when_it_ends() -> None:
    memory = CallMemory()
    memory.note_answered("a", 2)
    memory.added_usage("a", Usage(5, 7))
    assert memory.answered_count("a") == 2
    memory.forget("a")
    memory.forget("never noted")
    assert memory.answered_count("a") is None
    assert memory.added_usage("a", Usage(5, 7)) == Usage(5, 7)


def test_only_the_newest_calls_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_memory, "MAX_REMEMBERED_CALLS", 2)
    memory = CallMemory()
    for call in ("a", "b", "a", "c"):
        memory.note_answered(call, 1)
    assert [memory.answered_count(call) for call in ("a", "b", "c")] == [1, None, 1]
