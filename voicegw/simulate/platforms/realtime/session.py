"""One socket of a realtime client: its events, and what the gateway's mean. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from voicegw.simulate.frame_schema import find_mismatch
from voicegw.simulate.platform import Frame, decode_frame, abbreviate
from voicegw.simulate.platforms.realtime.checks import EVENT_TYPES
from voicegw.simulate.platforms.realtime.pending import PendingEvents
from voicegw.simulate.platforms.realtime.response import JsonObject, ResponseItem, ReceivedResponse
from voicegw.simulate.recording import ActionSeen, AnswerEnded, Observation, FramesReturned, Violation
from voicegw.wire.json import loads

ALREADY_ACTIVE = "conversation_already_has_active_response"
NOT_ACTIVE = "response_cancel_not_active"
TRUNCATE = "conversation.item.truncate"

HistoryEntry: TypeAlias = JsonObject | ResponseItem
"""An item of the conversation, as it was sent or as it came."""


@dataclass(slots=True)
class PendingResponseCreate:
    """A response.create of ours that has no response yet. `twin`: it came while another one was active."""

    id: str
    turn: int
    is_duplicate: bool
    is_cancelled: bool = False


class RealtimeClientSession:
    """One session, as long as its socket lasts. `results` are what tools give, by the names of the offered.

    What comes is added to `history`.
    """

    def __init__(self, pending_events: PendingEvents, tool_results: Mapping[str, str | None], history: list[HistoryEntry]) -> None:
        self.pending_events = pending_events
        self.tool_results = tool_results
        self.history = history
        self.seen_event_ids: set[str] = set()
        self.pending_creates: list[PendingResponseCreate] = []
        self.responses: dict[str, ReceivedResponse] = {}
        self.crossed_turns: list[int | None] = []  # turns that had ended by the time they were cancelled, it seems
        self.call_ids: set[str] = set()

    @property
    def unfinished_items(self) -> list[ResponseItem]:
        """The items of responses that are not done."""
        return [piece for known in self.responses.values() if not known.is_done for piece in known.items]

    def messages_for(self, turn: int | None) -> list[ResponseItem]:
        """The messages in answer to a question."""
        return [piece for known in self.responses.values() if known.turn == turn for piece in known.messages]

    # What is sent

    def encode_item(self, item: JsonObject) -> Frame:
        """An item for the conversation."""
        return self.pending_events.encode_event("conversation.item.create", "errors", item=item)

    def create_response(self, turn: int, *, is_duplicate: bool = False) -> Frame:
        """A response to this question is wanted."""
        frame = self.pending_events.encode_event("response.create", "not-twice" if is_duplicate else "created-done", needs_answer=is_duplicate)
        self.pending_creates.append(PendingResponseCreate(self.pending_events.last_id, turn, is_duplicate))
        return frame

    def cancel_responses(self) -> list[Frame]:
        """Cancel what is being made, or wanted, if there is anything."""
        self.pending_creates = [order for order in self.pending_creates if not order.is_duplicate]
        running = [known for known in self.responses.values() if not (known.is_done or known.is_cancelled)]
        waiting = [order for order in self.pending_creates if not order.is_cancelled]
        for known in running:
            known.is_cancelled = True
        for order in waiting:
            order.is_cancelled = True
        named: JsonObject = {"response_id": running[-1].id} if running else {}
        return [self.pending_events.encode_event("response.cancel", "cancels", **named)] if running or waiting else []

    # What comes

    def receive(self, frame: Frame) -> Iterator[Observation]:
        """What a frame of the gateway's means. Never raises."""
        data = decode_frame(frame)
        if isinstance(data, str):
            yield Violation("events", data)
            return
        kind, id = data.get("type"), data.get("event_id")
        if not self.seen_event_ids and kind != "session.created":
            yield Violation("session-first", f"{abbreviate(kind)} came first")
        if not isinstance(id, str) or not id or id in self.seen_event_ids:
            yield Violation("events", f"{abbreviate(kind)} with no event_id of its own: {abbreviate(id)}")
        self.seen_event_ids.add(str(id))
        if (why := find_mismatch(data, kind, EVENT_TYPES)) is not None:
            yield Violation("events", why)
        else:
            yield from self._heard(str(kind), data)

    def _heard(self, kind: str, data: JsonObject) -> Iterator[Observation]:
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

    def _confirmed(self, kind: str, data: JsonObject) -> Iterator[Violation]:
        """The answer to an event of ours, perhaps."""
        place = {name: data[name] for name in ("item_id", "content_index", "audio_end_ms") if name in data}
        if kind == "session.created" and not self.pending_events.confirm(kind):
            yield Violation("session-first", "a second session.created")
        elif kind == "session.updated" and not self.pending_events.confirm("session.update"):
            yield Violation("session-first", "a session.updated without a session.update")
        elif kind == "conversation.item.truncated" and not self.pending_events.confirm(TRUNCATE, **place):
            yield Violation("truncates", f"{kind} of what was not to be: {abbreviate(place['item_id'])}")

    def _created(self, response: JsonObject) -> Iterator[Violation]:
        """A response begins: the one that was wanted first."""
        id, order = response["id"], self.pending_creates.pop(0) if self.pending_creates else None
        if id in self.responses or order is None:
            yield Violation("created-done", "a response.created that no response.create asked for")
        elif order.is_duplicate:
            yield Violation("not-twice", "a second response.create began a second response")
        if self.pending_events.is_pending("session.update"):
            yield Violation("session-first", "response.created came before session.updated")
        if response["status"] != "in_progress":
            yield Violation("created-done", f"response.created with status {abbreviate(response['status'])}")
        turn, cancelled = (order.turn, order.is_cancelled) if order is not None else (None, False)
        self.pending_events.mark_answered(order.id if order is not None else "")
        self.responses[id] = ReceivedResponse(id, turn, is_cancelled=cancelled)

    def _followed(self, kind: str, data: JsonObject) -> Iterator[Observation]:
        """An event between the two ends of a response."""
        known = self.responses.get(data["response_id"])
        if known is None:
            yield Violation("created-done", f"{kind} of a response that was not created")
            return
        for heard in known.receive(kind, data):
            yield heard
            if isinstance(heard, ActionSeen):
                yield from self._called(heard)
        if kind == "response.output_item.added" and data["item"]["type"] == "message":
            self.history.append(known.items[-1])

    def _called(self, call: ActionSeen) -> Iterator[Violation]:
        if call.name not in self.tool_results:
            yield Violation("tools", f"{abbreviate(call.name)} is not offered")
        if not call.id or call.id in self.call_ids:
            yield Violation("tools", f"{abbreviate(call.name)} has no call_id of its own: {abbreviate(call.id)}")
        self.call_ids.add(call.id)
        try:
            good = isinstance(loads(call.arguments.encode()), dict)
        except ValueError:
            good = False
        if not good:
            yield Violation("tools", f"{abbreviate(call.name)}: arguments are no JSON object: {abbreviate(call.arguments)}")

    def _done(self, response: JsonObject) -> Iterator[Observation]:
        """A response ends. If that crossed our response.cancel, an error will say so."""
        known, status = self.responses.get(response["id"]), response["status"]
        if known is None or known.is_done:
            yield Violation("created-done", "a response.done of a response that was not being made")
            return
        yield from known.finish(response["output"])
        if known.is_cancelled and status != "cancelled":
            self.crossed_turns.append(known.turn)
            return
        if not known.is_cancelled and status != "completed":
            yield Violation("created-done", f"response.done with status {abbreviate(status)}")
        frames = () if known.is_cancelled else self._returned(known)
        yield FramesReturned(tuple(frames)) if frames else AnswerEnded(known.turn)

    def _returned(self, known: ReceivedResponse) -> Sequence[Frame]:
        """The results of the tools that were called, and the wish for the rest of the answer."""
        frames = []
        for call in known.calls:
            if (result := self.tool_results.get(call.name)) is not None:
                item = {"type": "function_call_output", "call_id": call.id, "output": result}
                named = {"call_id": call.id, "name": call.name, "arguments": call.arguments}
                self.history += [{"type": "function_call", **named}, item]
                frames.append(self.encode_item(item))
        return [*frames, self.create_response(known.turn or 0)] if frames else []

    def _error(self, error: JsonObject) -> Iterator[Observation]:
        id, code = error.get("event_id"), error.get("code")
        due = self.pending_events.pop_rejected(id) if id is None or isinstance(id, str) else None
        if due is None:
            yield Violation("errors", f"an error event that names none of ours: {abbreviate(id)}, code {abbreviate(code)}")
        elif due.kind == "response.cancel" and code == NOT_ACTIVE and self.crossed_turns:
            yield AnswerEnded(self.crossed_turns.pop())
        elif due.kind == "response.create":
            self.pending_creates = [order for order in self.pending_creates if order.id != id]
            if due.item != "not-twice" or code != ALREADY_ACTIVE:
                yield Violation(due.item, f"response.create was refused with code {abbreviate(code)}")
        elif due.item != "errors" or not due.needs_answer:
            yield Violation(due.item, f"{due.kind} was refused with code {abbreviate(code)}")
