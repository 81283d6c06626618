"""What a realtime client sent, and what of it was answered."""

from __future__ import annotations

import json

from voicegw.simulate.platforms.realtime.pending import Book


def test_every_event_has_an_id_of_its_own() -> None:
    book = Book("p")
    first = json.loads(book.event("a", "errors", item={"id": "i"}))
    second = json.loads(book.event("b", "errors"))
    assert first == {"type": "a", "event_id": "event_p_1", "item": {"id": "i"}}
    assert (second, book.last) == ({"type": "b", "event_id": "event_p_2"}, "event_p_2")


def test_what_needs_an_answer_is_owed_until_it_is_confirmed_with_its_fields() -> None:
    book = Book("p")
    assert book.owed("truncates") is None
    book.event("cut", "truncates", needed=True, item_id="i", heard="We")
    assert book.owes("cut")
    assert not book.confirm("cut", item_id="j")
    assert book.owed("truncates") == ["cut was not answered"]
    assert book.confirm("cut", item_id="i")
    assert not book.confirm("cut", item_id="i")
    assert book.owed("truncates") == []


def test_what_needs_none_is_never_owed_but_may_be_refused() -> None:
    book = Book("p")
    book.event("cancel", "cancels")
    assert book.owed("cancels") is None
    refused = book.refused(book.last)
    assert refused is not None
    assert refused.kind == "cancel"
    assert book.refused(book.last) is None


def test_an_error_without_an_id_is_about_a_text_that_had_none() -> None:
    book = Book("p")
    book.expect("session-first", "session.created")
    assert book.refused(None) is None
    book.event("odd", "errors", needed=True)
    book.expect("errors", "'{'")
    refused = book.refused(None)
    assert refused is not None
    assert refused.kind == "'{'"
    assert book.refused(None) is None
    assert book.owed("errors") == ["odd was not answered"]


def test_a_lost_socket_takes_with_it_only_what_may_still_have_come() -> None:
    book = Book("p")
    book.event("early", "errors", needed=True)
    book.event("create", "created-done")
    book.event("late", "errors", needed=True)
    book.forget()
    assert book.owed("errors") == []
    book.event("early", "errors", needed=True)
    book.event("item", "errors")
    book.event("create", "created-done")
    created = book.last
    book.event("late", "errors", needed=True)
    book.settled(created)
    book.settled(created)
    book.forget()
    assert book.owed("errors") == ["early was not answered"]
