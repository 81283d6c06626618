"""The events that a realtime client sent, and the answers that are still missing. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from voicegw.simulate.platform import Frame, encode_frame


@dataclass(frozen=True, slots=True)
class PendingEvent:
    """An event of the client. `item` is the check that its answer belongs to.

    With `needs_answer`, a missing answer is a violation; else only an error event would answer it.
    """

    item: str
    event_type: str
    """The event's `type`."""
    needs_answer: bool
    fields: Mapping[str, Any]
    """The event's other fields."""


class PendingEvents:
    """Encodes the events of one call, each with its own id, and matches them with their answers.

    `prefix` makes the ids unique.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.last_id = ""  # the id of the last event
        self.count = 0  # ids made so far
        self.by_id: dict[str, PendingEvent] = {}  # without an answer, in the order of sending
        self.overdue_ids: set[str] = set()  # see `mark_answered`
        self.tried_items: set[str] = set()  # the checks that an event has exercised

    def encode_event(
        self, event_type: str, item: str, /, *, needs_answer: bool = False, **fields: Any
    ) -> Frame:
        """Return an event of this type, with these fields, and remember it for the check `item`."""
        self.last_id = self._make_id("event")
        self._add(self.last_id, PendingEvent(item, event_type, needs_answer, fields))
        return encode_frame(type=event_type, event_id=self.last_id, **fields)

    def expect(self, item: str, event_type: str) -> None:
        """Expect an answer of this type that belongs to no event with an id."""
        self._add(self._make_id("#"), PendingEvent(item, event_type, True, {}))

    def is_pending(self, event_type: str) -> bool:
        """Is an event of this type still without its answer?"""
        return any(event.event_type == event_type for event in self.by_id.values())

    def confirm(self, event_type: str, **fields: Any) -> bool:
        """Mark the oldest event of this type with these fields as answered. Returns whether there was one."""
        for id, event in self.by_id.items():
            if event.event_type == event_type and fields.items() <= event.fields.items():
                del self.by_id[id]
                return True
        return False

    def pop_rejected(self, id: str | None) -> PendingEvent | None:
        """Return the event that an error is about; None if there is none.

        An error without an id is about a frame that had none.
        """
        if id is None:
            found = (
                name for name, event in self.by_id.items() if name.startswith("#") and event.item == "errors"
            )
            id = next(found, "")
        return self.by_id.pop(id, None)

    def mark_answered(self, id: str) -> None:
        """Mark a response.create as answered; the answers to all earlier events are overdue from now on."""
        if id in self.by_id:
            self.overdue_ids.update(takewhile(lambda name: name != id, self.by_id))
            del self.by_id[id]

    def reset_connection(self) -> None:
        """Drop the events whose answers were lost with the socket; only overdue ones stay missing."""
        self.by_id = {
            id: event for id, event in self.by_id.items() if event.needs_answer and id in self.overdue_ids
        }

    def missing_answers(self, item: str) -> list[str] | None:
        """Return a sentence for each missing answer of the check `item`; None if no event exercised it."""
        if item not in self.tried_items:
            return None
        types = [
            event.event_type for event in self.by_id.values() if event.needs_answer and event.item == item
        ]
        return [f"{event_type} was not answered" for event_type in dict.fromkeys(types)]

    def _make_id(self, kind: str) -> str:
        self.count += 1
        return f"{kind}_{self.prefix}_{self.count}"

    def _add(self, id: str, event: PendingEvent) -> None:
        self.by_id[id] = event
        if event.needs_answer:
            self.tried_items.add(event.item)
