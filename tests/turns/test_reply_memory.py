"""The memory of the gateway's own phrases in one call."""

from __future__ import annotations

import pytest

from voicegw.events import Activity
from voicegw.turns.own_phrases import OwnPhrase
from voicegw.turns.reply_memory import ReplyMemory
from voicegw.turns.stream import EventLog
from voicegw.wire.memory_size import deep_bytes

REPLY = "onemomentletmelookstillworkingonitfound"
LOOK = EventLog(["Let me", Activity("bash"), " look.", "Found."])


def test_phrases_have_the_words_around_them() -> None:
    memory = ReplyMemory()
    memory.add(LOOK, "When?", "One moment. ", 0)
    memory.add(LOOK, "When?", "Still working on it. ", 3)
    assert memory.find_phrases() == (
        OwnPhrase(REPLY, 0, 9, "when"),
        OwnPhrase(REPLY, 18, 34, "when"),
    )


def test_phrase_that_two_clients_hear_at_the_same_place_is_one() -> None:
    memory = ReplyMemory()
    for count in (3, 0, 0):
        memory.add(LOOK, "When?", "One moment. ", count)
    assert [phrase.start for phrase in memory.find_phrases()] == [0, 18]


def test_phrases_of_a_run_are_read_until_it_ends() -> None:
    memory, event_log = ReplyMemory(), EventLog()
    memory.add(event_log, "When?", "One moment. ", 0)
    assert memory.find_phrases()[0].reply == "onemoment"
    event_log.events.append("At ten.")
    assert memory.find_phrases()[0].reply == "onemomentatten"
    assert memory.byte_count == 0
    event_log.has_ended = True
    for _ in range(2):
        assert memory.find_phrases() == (OwnPhrase("onemomentatten", 0, 9, "when"),)
    assert memory.byte_count == deep_bytes(OwnPhrase("onemomentatten", 0, 9, "when"))


def test_the_oldest_phrases_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voicegw.turns.reply_memory.MAX_OWN_PHRASES", 2)
    memory = ReplyMemory()
    for number in range(4):
        memory.add(EventLog(["Yes."], has_ended=True), f"Question {number}", "One moment. ", 0)
    assert [phrase.question for phrase in memory.find_phrases()] == ["question2", "question3"]


def test_the_bytes_of_all_phrases_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voicegw.turns.reply_memory.MAX_BYTES", 25_000)
    memory = ReplyMemory()
    for number in range(5):
        memory.add(EventLog(["x" * 10_000], has_ended=True), f"Question {number}", "One moment. ", 0)
        memory.find_phrases()
    assert [phrase.question for phrase in memory.find_phrases()] == ["question3", "question4"]
    assert 20_000 < memory.byte_count == sum(map(deep_bytes, memory.find_phrases()))
