"""Events of a realtime client, and the answers that are missing."""

from __future__ import annotations

import json

from voicegw.simulate.platforms.realtime.pending import PendingEvents


def test_every_event_has_its_own_id() -> None:
    pending_events = PendingEvents("p")
    first = json.loads(pending_events.encode_event("a", "errors", item={"id": "i"}))
    second = json.loads(pending_events.encode_event("b", "errors"))
    assert first == {"type": "a", "event_id": "event_p_1", "item": {"id": "i"}}
    assert (second, pending_events.last_id) == ({"type": "b", "event_id": "event_p_2"}, "event_p_2")


def test_event_is_missing_its_answer_until_it_is_confirmed_with_its_fields() -> None:
    pending_events = PendingEvents("p")
    assert pending_events.missing_answers("truncates") is None
    pending_events.encode_event("cut", "truncates", needs_answer=True, item_id="i", heard="We")
    assert pending_events.is_pending("cut")
    assert not pending_events.confirm("cut", item_id="j")
    assert pending_events.missing_answers("truncates") == ["cut was not answered"]
    assert pending_events.confirm("cut", item_id="i")
    assert not pending_events.confirm("cut", item_id="i")
    assert pending_events.missing_answers("truncates") == []


def test_event_without_needed_answer_is_never_missing_but_may_be_rejected() -> None:
    pending_events = PendingEvents("p")
    pending_events.encode_event("cancel", "cancels")
    assert pending_events.missing_answers("cancels") is None
    rejected = pending_events.pop_rejected(pending_events.last_id)
    assert rejected is not None
    assert rejected.event_type == "cancel"
    assert pending_events.pop_rejected(pending_events.last_id) is None


def test_error_without_an_id_is_about_a_frame_without_one() -> None:
    pending_events = PendingEvents("p")
    pending_events.expect("session-first", "session.created")
    assert pending_events.pop_rejected(None) is None
    pending_events.encode_event("odd", "errors", needs_answer=True)
    pending_events.expect("errors", "'{'")
    rejected = pending_events.pop_rejected(None)
    assert rejected is not None
    assert rejected.event_type == "'{'"
    assert pending_events.pop_rejected(None) is None
    assert pending_events.missing_answers("errors") == ["odd was not answered"]


def test_lost_socket_keeps_only_overdue_answers_missing() -> None:
    pending_events = PendingEvents("p")
    pending_events.encode_event("early", "errors", needs_answer=True)
    pending_events.encode_event("create", "created-done")
    pending_events.encode_event("late", "errors", needs_answer=True)
    pending_events.reset_connection()
    assert pending_events.missing_answers("errors") == []
    pending_events.encode_event("early", "errors", needs_answer=True)
    pending_events.encode_event("item", "errors")
    pending_events.encode_event("create", "created-done")
    created = pending_events.last_id
    pending_events.encode_event("late", "errors", needs_answer=True)
    pending_events.mark_answered(created)
    pending_events.mark_answered(created)
    pending_events.reset_connection()
    assert pending_events.missing_answers("errors") == ["early was not answered"]
