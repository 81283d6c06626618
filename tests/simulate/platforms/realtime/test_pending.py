"""What a realtime client sent, and what of it was answered."""

from __future__ import annotations

import json

from voicegw.simulate.platforms.realtime.pending import PendingEvents


def test_every_event_has_an_id_of_its_own() -> None:
    book = PendingEvents("p")
    first = json.loads(book.encode_event("a", "errors", item={"id": "i"}))
    second = json.loads(book.encode_event("b", "errors"))
    assert first == {"type": "a", "event_id": "event_p_1", "item": {"id": "i"}}
    assert (second, book.last_id) == ({"type": "b", "event_id": "event_p_2"}, "event_p_2")


def test_what_needs_an_answer_is_owed_until_it_is_confirmed_with_its_fields() -> None:
    book = PendingEvents("p")
    assert book.missing_answers("truncates") is None
    book.encode_event("cut", "truncates", needs_answer=True, item_id="i", heard="We")
    assert book.is_pending("cut")
    assert not book.confirm("cut", item_id="j")
    assert book.missing_answers("truncates") == ["cut was not answered"]
    assert book.confirm("cut", item_id="i")
    assert not book.confirm("cut", item_id="i")
    assert book.missing_answers("truncates") == []


def test_what_needs_none_is_never_owed_but_may_be_refused() -> None:
    book = PendingEvents("p")
    book.encode_event("cancel", "cancels")
    assert book.missing_answers("cancels") is None
    refused = book.pop_rejected(book.last_id)
    assert refused is not None
    assert refused.kind == "cancel"
    assert book.pop_rejected(book.last_id) is None


def test_an_error_without_an_id_is_about_a_text_that_had_none() -> None:
    book = PendingEvents("p")
    book.expect("session-first", "session.created")
    assert book.pop_rejected(None) is None
    book.encode_event("odd", "errors", needs_answer=True)
    book.expect("errors", "'{'")
    refused = book.pop_rejected(None)
    assert refused is not None
    assert refused.kind == "'{'"
    assert book.pop_rejected(None) is None
    assert book.missing_answers("errors") == ["odd was not answered"]


def test_a_lost_socket_takes_with_it_only_what_may_still_have_come() -> None:
    book = PendingEvents("p")
    book.encode_event("early", "errors", needs_answer=True)
    book.encode_event("create", "created-done")
    book.encode_event("late", "errors", needs_answer=True)
    book.reset_connection()
    assert book.missing_answers("errors") == []
    book.encode_event("early", "errors", needs_answer=True)
    book.encode_event("item", "errors")
    book.encode_event("create", "created-done")
    created = book.last_id
    book.encode_event("late", "errors", needs_answer=True)
    book.mark_answered(created)
    book.mark_answered(created)
    book.reset_connection()
    assert book.missing_answers("errors") == ["early was not answered"]
