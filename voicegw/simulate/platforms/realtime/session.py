"""One socket of a realtime client: its events, and what the gateway's mean. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from voicegw.simulate.frame_schema import misfit
from voicegw.simulate.platform import Frame, opened, shown
from voicegw.simulate.platforms.realtime.checks import KINDS
from voicegw.simulate.platforms.realtime.pending import Book
from voicegw.simulate.platforms.realtime.response import Object, Piece, Response
from voicegw.simulate.recording import Acted, Done, Heard, Returned, Wrong
from voicegw.wire.json import loads

ACTIVE = "conversation_already_has_active_response"
IDLE = "response_cancel_not_active"
TRUNCATE = "conversation.item.truncate"

Entry: TypeAlias = Object | Piece
"""An item of the conversation, as it was sent or as it came."""


@dataclass(slots=True)
class Order:
    """A response.create of ours that has no response yet. `twin`: it came while another one was active."""

    id: str
    turn: int
    twin: bool
    cancelled: bool = False


class Session:
    """One session, as long as its socket lasts. `results` are what tools give, by the names of the offered.

    What comes is added to `history`.
    """

    def __init__(self, book: Book, results: Mapping[str, str | None], history: list[Entry]) -> None:
        self.book = book
        self.results = results
        self.history = history
        self.seen: set[str] = set()
        self.orders: list[Order] = []
        self.responses: dict[str, Response] = {}
        self.crossed: list[int | None] = []  # turns that had ended by the time they were cancelled, it seems
        self.calls: set[str] = set()

    @property
    def unfinished(self) -> list[Piece]:
        """The items of responses that are not done."""
        return [piece for known in self.responses.values() if not known.done for piece in known.pieces]

    def spoken(self, turn: int | None) -> list[Piece]:
        """The messages in answer to a question."""
        return [piece for known in self.responses.values() if known.turn == turn for piece in known.messages]

    # What is sent

    def item(self, item: Object) -> Frame:
        """An item for the conversation."""
        return self.book.event("conversation.item.create", "errors", item=item)

    def create(self, turn: int, *, twin: bool = False) -> Frame:
        """A response to this question is wanted."""
        frame = self.book.event("response.create", "not-twice" if twin else "created-done", needed=twin)
        self.orders.append(Order(self.book.last, turn, twin))
        return frame

    def cancel(self) -> list[Frame]:
        """Cancel what is being made, or wanted, if there is anything."""
        self.orders = [order for order in self.orders if not order.twin]
        running = [known for known in self.responses.values() if not (known.done or known.cancelled)]
        waiting = [order for order in self.orders if not order.cancelled]
        for known in running:
            known.cancelled = True
        for order in waiting:
            order.cancelled = True
        named: Object = {"response_id": running[-1].id} if running else {}
        return [self.book.event("response.cancel", "cancels", **named)] if running or waiting else []

    # What comes

    def hear(self, frame: Frame) -> Iterator[Heard]:
        """What a frame of the gateway's means. Never raises."""
        data = opened(frame)
        if isinstance(data, str):
            yield Wrong("events", data)
            return
        kind, id = data.get("type"), data.get("event_id")
        if not self.seen and kind != "session.created":
            yield Wrong("session-first", f"{shown(kind)} came first")
        if not isinstance(id, str) or not id or id in self.seen:
            yield Wrong("events", f"{shown(kind)} with no event_id of its own: {shown(id)}")
        self.seen.add(str(id))
        if (why := misfit(data, kind, KINDS)) is not None:
            yield Wrong("events", why)
        else:
            yield from self._heard(str(kind), data)

    def _heard(self, kind: str, data: Object) -> Iterator[Heard]:
        if kind == "response.created":
            yield from self._created(data["response"])
        elif kind == "response.done":
            yield from self._done(data["response"])
        elif kind == "error":
            yield from self._error(data["error"])
        elif kind.startswith("response."):
            yield from self._followed(kind, data)
        else:
            yield from self._confirmed(kind, data)

    def _confirmed(self, kind: str, data: Object) -> Iterator[Wrong]:
        """The answer to an event of ours, perhaps."""
        place = {name: data[name] for name in ("item_id", "content_index", "audio_end_ms") if name in data}
        if kind == "session.created" and not self.book.confirm(kind):
            yield Wrong("session-first", "a second session.created")
        elif kind == "session.updated" and not self.book.confirm("session.update"):
            yield Wrong("session-first", "a session.updated without a session.update")
        elif kind == "conversation.item.truncated" and not self.book.confirm(TRUNCATE, **place):
            yield Wrong("truncates", f"{kind} of what was not to be: {shown(place['item_id'])}")

    def _created(self, response: Object) -> Iterator[Wrong]:
        """A response begins: the one that was wanted first."""
        id, order = response["id"], self.orders.pop(0) if self.orders else None
        if id in self.responses or order is None:
            yield Wrong("created-done", "a response.created that no response.create asked for")
        elif order.twin:
            yield Wrong("not-twice", "a second response.create began a second response")
        if self.book.owes("session.update"):
            yield Wrong("session-first", "response.created came before session.updated")
        if response["status"] != "in_progress":
            yield Wrong("created-done", f"response.created with status {shown(response['status'])}")
        turn, cancelled = (order.turn, order.cancelled) if order is not None else (None, False)
        self.book.settled(order.id if order is not None else "")
        self.responses[id] = Response(id, turn, cancelled=cancelled)

    def _followed(self, kind: str, data: Object) -> Iterator[Heard]:
        """An event between the two ends of a response."""
        known = self.responses.get(data["response_id"])
        if known is None:
            yield Wrong("created-done", f"{kind} of a response that was not created")
            return
        for heard in known.hear(kind, data):
            yield heard
            if isinstance(heard, Acted):
                yield from self._called(heard)
        if kind == "response.output_item.added" and data["item"]["type"] == "message":
            self.history.append(known.pieces[-1])

    def _called(self, call: Acted) -> Iterator[Wrong]:
        if call.name not in self.results:
            yield Wrong("tools", f"{shown(call.name)} is not offered")
        if not call.id or call.id in self.calls:
            yield Wrong("tools", f"{shown(call.name)} has no call_id of its own: {shown(call.id)}")
        self.calls.add(call.id)
        try:
            good = isinstance(loads(call.arguments.encode()), dict)
        except ValueError:
            good = False
        if not good:
            yield Wrong("tools", f"{shown(call.name)}: arguments are no JSON object: {shown(call.arguments)}")

    def _done(self, response: Object) -> Iterator[Heard]:
        """A response ends. If that crossed our response.cancel, an error will say so."""
        known, status = self.responses.get(response["id"]), response["status"]
        if known is None or known.done:
            yield Wrong("created-done", "a response.done of a response that was not being made")
            return
        yield from known.end(response["output"])
        if known.cancelled and status != "cancelled":
            self.crossed.append(known.turn)
            return
        if not known.cancelled and status != "completed":
            yield Wrong("created-done", f"response.done with status {shown(status)}")
        frames = () if known.cancelled else self._returned(known)
        yield Returned(tuple(frames)) if frames else Done(known.turn)

    def _returned(self, known: Response) -> Sequence[Frame]:
        """The results of the tools that were called, and the wish for the rest of the answer."""
        frames = []
        for call in known.calls:
            if (result := self.results.get(call.name)) is not None:
                item = {"type": "function_call_output", "call_id": call.id, "output": result}
                named = {"call_id": call.id, "name": call.name, "arguments": call.arguments}
                self.history += [{"type": "function_call", **named}, item]
                frames.append(self.item(item))
        return [*frames, self.create(known.turn or 0)] if frames else []

    def _error(self, error: Object) -> Iterator[Heard]:
        id, code = error.get("event_id"), error.get("code")
        due = self.book.refused(id) if id is None or isinstance(id, str) else None
        if due is None:
            yield Wrong("errors", f"an error event that names none of ours: {shown(id)}, code {shown(code)}")
        elif due.kind == "response.cancel" and code == IDLE and self.crossed:
            yield Done(self.crossed.pop())
        elif due.kind == "response.create":
            self.orders = [order for order in self.orders if order.id != id]
            if due.item != "not-twice" or code != ACTIVE:
                yield Wrong(due.item, f"response.create was refused with code {shown(code)}")
        elif due.item != "errors" or not due.needed:
            yield Wrong(due.item, f"{due.kind} was refused with code {shown(code)}")
