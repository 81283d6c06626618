"""The events that a realtime client sent, and what of them is still to be answered. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from voicegw.simulate.platform import Frame, encode_frame


@dataclass(frozen=True, slots=True)
class PendingEvent:
    """An event of ours. `item` is the checklist's entry that it belongs to.

    `needed`: it has to be answered, so the answer is owed; else only an error would be one.
    """

    item: str
    kind: str
    needs_answer: bool
    fields: Mapping[str, Any]


class PendingEvents:
    """Writes the events of one call, each with an id of its own, and notes their answers."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.last_id = ""  # the id of the last event
        self.count = 0
        self.by_id: dict[str, PendingEvent] = {}
        self.overdue_ids: set[str] = set()
        self.tried_items: set[str] = set()

    def encode_event(self, kind: str, item: str, /, *, needs_answer: bool = False, **fields: Any) -> Frame:
        """An event of this kind, with these fields."""
        self.last_id = self._name("event")
        self._note(self.last_id, PendingEvent(item, kind, needs_answer, fields))
        return encode_frame(type=kind, event_id=self.last_id, **fields)

    def expect(self, item: str, kind: str) -> None:
        """Something that is due although no event with an id asked for it."""
        self._note(self._name("#"), PendingEvent(item, kind, True, {}))

    def is_pending(self, kind: str) -> bool:
        """Is an event of this kind, or its answer, still due?"""
        return any(due.kind == kind for due in self.by_id.values())

    def confirm(self, kind: str, **fields: Any) -> bool:
        """The answer to an event of this kind came; tells whether there was one with these fields."""
        for id, due in self.by_id.items():
            if due.kind == kind and fields.items() <= due.fields.items():
                del self.by_id[id]
                return True
        return False

    def pop_rejected(self, id: str | None) -> PendingEvent | None:
        """The event that an error is about, None if there is none; without an id it is one that had none."""
        if id is None:
            found = (name for name, due in self.by_id.items() if name.startswith("#") and due.item == "errors")
            id = next(found, "")
        return self.by_id.pop(id, None)

    def mark_answered(self, id: str) -> None:
        """A response.create is answered: so should be whatever was sent before it."""
        if id in self.by_id:
            self.overdue_ids.update(takewhile(lambda name: name != id, self.by_id))
            del self.by_id[id]

    def reset_connection(self) -> None:
        """The socket is lost, and with it what may still have come."""
        self.by_id = {id: due for id, due in self.by_id.items() if due.needs_answer and id in self.overdue_ids}

    def missing_answers(self, item: str) -> list[str] | None:
        """What of an entry of the checklist is due, in sentences; None if nothing ever was."""
        if item not in self.tried_items:
            return None
        due = [due.kind for due in self.by_id.values() if due.needs_answer and due.item == item]
        return [f"{kind} was not answered" for kind in dict.fromkeys(due)]

    def _name(self, kind: str) -> str:
        self.count += 1
        return f"{kind}_{self.prefix}_{self.count}"

    def _note(self, id: str, due: PendingEvent) -> None:
        self.by_id[id] = due
        if due.needs_answer:
            self.tried_items.add(due.item)
