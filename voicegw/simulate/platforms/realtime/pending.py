"""The events that a realtime client sent, and what of them is still to be answered. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from voicegw.simulate.platform import Frame, written


@dataclass(frozen=True, slots=True)
class Due:
    """An event of ours. `item` is the checklist's entry that it belongs to.

    `needed`: it has to be answered, so the answer is owed; else only an error would be one.
    """

    item: str
    kind: str
    needed: bool
    fields: Mapping[str, Any]


class Book:
    """Writes the events of one call, each with an id of its own, and notes their answers."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.last = ""  # the id of the last event
        self.count = 0
        self.due: dict[str, Due] = {}
        self.overdue: set[str] = set()
        self.tried: set[str] = set()

    def event(self, kind: str, item: str, /, *, needed: bool = False, **fields: Any) -> Frame:
        """An event of this kind, with these fields."""
        self.last = self._name("event")
        self._note(self.last, Due(item, kind, needed, fields))
        return written(type=kind, event_id=self.last, **fields)

    def expect(self, item: str, kind: str) -> None:
        """Something that is due although no event with an id asked for it."""
        self._note(self._name("#"), Due(item, kind, True, {}))

    def owes(self, kind: str) -> bool:
        """Is an event of this kind, or its answer, still due?"""
        return any(due.kind == kind for due in self.due.values())

    def confirm(self, kind: str, **fields: Any) -> bool:
        """The answer to an event of this kind came; tells whether there was one with these fields."""
        for id, due in self.due.items():
            if due.kind == kind and fields.items() <= due.fields.items():
                del self.due[id]
                return True
        return False

    def refused(self, id: str | None) -> Due | None:
        """The event that an error is about, None if there is none; without an id it is one that had none."""
        if id is None:
            found = (name for name, due in self.due.items() if name.startswith("#") and due.item == "errors")
            id = next(found, "")
        return self.due.pop(id, None)

    def settled(self, id: str) -> None:
        """A response.create is answered: so should be whatever was sent before it."""
        if id in self.due:
            self.overdue.update(takewhile(lambda name: name != id, self.due))
            del self.due[id]

    def forget(self) -> None:
        """The socket is lost, and with it what may still have come."""
        self.due = {id: due for id, due in self.due.items() if due.needed and id in self.overdue}

    def owed(self, item: str) -> list[str] | None:
        """What of an entry of the checklist is due, in sentences; None if nothing ever was."""
        if item not in self.tried:
            return None
        due = [due.kind for due in self.due.values() if due.needed and due.item == item]
        return [f"{kind} was not answered" for kind in dict.fromkeys(due)]

    def _name(self, kind: str) -> str:
        self.count += 1
        return f"{kind}_{self.prefix}_{self.count}"

    def _note(self, id: str, due: Due) -> None:
        self.due[id] = due
        if due.needed:
            self.tried.add(due.item)
