"""One session of a realtime client, on one socket: its events, and those of the gateway. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from voicegw.simulate.frame_schema import find_mismatch
from voicegw.simulate.platform import Frame, abbreviate, decode_frame
from voicegw.simulate.platforms.realtime.checks import EVENT_TYPES
from voicegw.simulate.platforms.realtime.pending import PendingEvents
from voicegw.simulate.platforms.realtime.response import JsonObject, ReceivedResponse, ResponseItem
from voicegw.simulate.recording import ActionSeen, AnswerEnded, FramesReturned, Observation, Violation
from voicegw.wire.json import loads

ALREADY_ACTIVE = "conversation_already_has_active_response"
NOT_ACTIVE = "response_cancel_not_active"
TRUNCATE = "conversation.item.truncate"

HistoryEntry: TypeAlias = JsonObject | ResponseItem
"""An item of the conversation: one that the client sent, or one that it received."""


@dataclass(slots=True)
class PendingResponseCreate:
    """A response.create of the client that has no response yet.

    `id` is its event_id, `turn` the index of its question. `is_duplicate`: it was sent while another response
    was active. `is_cancelled`: the client has cancelled it since.
    """

    id: str
    turn: int
    is_duplicate: bool
    is_cancelled: bool = False


class RealtimeClientSession:
    """Plays one session, as long as its socket lasts.

    `tool_results` are the results of the offered tools, by name; None for a tool without one. Items that
    arrive are added to `history`.
    """

    def __init__(
        self,
        pending_events: PendingEvents,
        tool_results: Mapping[str, str | None],
        history: list[HistoryEntry],
    ) -> None:
        self.pending_events = pending_events  # the events that await an answer
        self.tool_results = tool_results
        self.history = history
        self.seen_event_ids: set[str] = set()  # of the gateway's events
        self.pending_creates: list[PendingResponseCreate] = []  # the oldest first
        self.responses: dict[str, ReceivedResponse] = {}  # by id
        # Turns whose response.done may have crossed the response.cancel: an error event then follows.
        self.crossed_turns: list[int | None] = []
        self.call_ids: set[str] = set()  # of the function calls so far

    @property
    def unfinished_items(self) -> list[ResponseItem]:
        """The items of responses that are not done."""
        return [item for known in self.responses.values() if not known.is_done for item in known.items]

    def messages_for(self, turn: int | None) -> list[ResponseItem]:
        """Return the messages in answer to a question."""
        return [item for known in self.responses.values() if known.turn == turn for item in known.messages]

    # Events that the client sends

    def encode_item(self, item: JsonObject) -> Frame:
        """Return a conversation.item.create."""
        return self.pending_events.encode_event("conversation.item.create", "errors", item=item)

    def create_response(self, turn: int, *, is_duplicate: bool = False) -> Frame:
        """Return a response.create for this question."""
        check = "not-twice" if is_duplicate else "created-done"
        frame = self.pending_events.encode_event("response.create", check, needs_answer=is_duplicate)
        self.pending_creates.append(PendingResponseCreate(self.pending_events.last_id, turn, is_duplicate))
        return frame

    def cancel_responses(self) -> list[Frame]:
        """Return a response.cancel for the active and the pending responses; [] if there are none."""
        self.pending_creates = [create for create in self.pending_creates if not create.is_duplicate]
        active = [known for known in self.responses.values() if not (known.is_done or known.is_cancelled)]
        waiting = [create for create in self.pending_creates if not create.is_cancelled]
        for known in active:
            known.is_cancelled = True
        for create in waiting:
            create.is_cancelled = True
        if not active and not waiting:
            return []
        fields: JsonObject = {"response_id": active[-1].id} if active else {}
        return [self.pending_events.encode_event("response.cancel", "cancels", **fields)]

    # Events that the client receives

    def receive(self, frame: Frame) -> Iterator[Observation]:
        """Yield the observations in a frame from the gateway. It never raises."""
        data = decode_frame(frame)
        if isinstance(data, str):
            yield Violation("events", data)
            return
        event_type, id = data.get("type"), data.get("event_id")
        if not self.seen_event_ids and event_type != "session.created":
            yield Violation("session-first", f"{abbreviate(event_type)} came first")
        if not isinstance(id, str) or not id or id in self.seen_event_ids:
            yield Violation("events", f"{abbreviate(event_type)} without a new event_id: {abbreviate(id)}")
        self.seen_event_ids.add(str(id))
        if (flaw := find_mismatch(data, event_type, EVENT_TYPES)) is not None:
            yield Violation("events", flaw)
        else:
            yield from self._receive_event(str(event_type), data)

    def _receive_event(self, event_type: str, data: JsonObject) -> Iterator[Observation]:
        if event_type == "response.created":
            yield from self._begin_response(data["response"])
        elif event_type == "response.done":
            yield from self._finish_response(data["response"])
        elif event_type == "error":
            yield from self._receive_error(data["error"])
        elif event_type.startswith("response."):
            yield from self._receive_response_event(event_type, data)
        else:
            yield from self._confirm(event_type, data)

    def _confirm(self, event_type: str, data: JsonObject) -> Iterator[Violation]:
        """Match the event with the client's event that it may answer."""
        fields = {name: data[name] for name in ("item_id", "content_index", "audio_end_ms") if name in data}
        confirm = self.pending_events.confirm
        if event_type == "session.created" and not confirm(event_type):
            yield Violation("session-first", "a second session.created")
        elif event_type == "session.updated" and not confirm("session.update"):
            yield Violation("session-first", "a session.updated without a session.update")
        elif event_type == "conversation.item.truncated" and not confirm(TRUNCATE, **fields):
            item_id = abbreviate(fields["item_id"])
            yield Violation("truncates", f"{event_type} without such a truncate event: {item_id}")

    def _begin_response(self, response: JsonObject) -> Iterator[Violation]:
        """Assign a new response to the oldest pending response.create."""
        id, create = response["id"], self.pending_creates.pop(0) if self.pending_creates else None
        if id in self.responses or create is None:
            yield Violation("created-done", "a response.created that no response.create asked for")
        elif create.is_duplicate:
            yield Violation("not-twice", "a second response.create began a second response")
        if self.pending_events.is_pending("session.update"):
            yield Violation("session-first", "response.created came before session.updated")
        if response["status"] != "in_progress":
            status = abbreviate(response["status"])
            yield Violation("created-done", f"response.created with status {status}")
        turn, is_cancelled = (create.turn, create.is_cancelled) if create is not None else (None, False)
        self.pending_events.mark_answered(create.id if create is not None else "")
        self.responses[id] = ReceivedResponse(id, turn, is_cancelled=is_cancelled)

    def _receive_response_event(self, event_type: str, data: JsonObject) -> Iterator[Observation]:
        """Read an event between response.created and response.done."""
        known = self.responses.get(data["response_id"])
        if known is None:
            yield Violation("created-done", f"{event_type} of a response that was not created")
            return
        for observation in known.receive(event_type, data):
            yield observation
            if isinstance(observation, ActionSeen):
                yield from self._check_tool_call(observation)
        if event_type == "response.output_item.added" and data["item"]["type"] == "message":
            self.history.append(known.items[-1])

    def _check_tool_call(self, call: ActionSeen) -> Iterator[Violation]:
        name = abbreviate(call.name)
        if call.name not in self.tool_results:
            yield Violation("tools", f"{name} is not offered")
        if not call.id or call.id in self.call_ids:
            yield Violation("tools", f"{name} without a new call_id: {abbreviate(call.id)}")
        self.call_ids.add(call.id)
        try:
            is_valid = isinstance(loads(call.arguments.encode()), dict)
        except ValueError:
            is_valid = False
        if not is_valid:
            yield Violation(
                "tools", f"{name}: the arguments are not a JSON object: {abbreviate(call.arguments)}"
            )

    def _finish_response(self, response: JsonObject) -> Iterator[Observation]:
        """End a response. If its end crossed the client's response.cancel, an error event follows."""
        known, status = self.responses.get(response["id"]), response["status"]
        if known is None or known.is_done:
            yield Violation("created-done", "a response.done of a response that was not active")
            return
        yield from known.finish(response["output"])
        if known.is_cancelled and status != "cancelled":
            self.crossed_turns.append(known.turn)
            return
        if not known.is_cancelled and status != "completed":
            yield Violation("created-done", f"response.done with status {abbreviate(status)}")
        frames = () if known.is_cancelled else self._encode_tool_results(known)
        yield FramesReturned(tuple(frames)) if frames else AnswerEnded(known.turn)

    def _encode_tool_results(self, known: ReceivedResponse) -> Sequence[Frame]:
        """Return the results of the called tools, and a response.create for the rest of the answer."""
        frames = []
        for call in known.calls:
            if (result := self.tool_results.get(call.name)) is not None:
                output = {"type": "function_call_output", "call_id": call.id, "output": result}
                fields = {"call_id": call.id, "name": call.name, "arguments": call.arguments}
                self.history += [{"type": "function_call", **fields}, output]
                frames.append(self.encode_item(output))
        return [*frames, self.create_response(known.turn or 0)] if frames else []

    def _receive_error(self, error: JsonObject) -> Iterator[Observation]:
        id, code = error.get("event_id"), error.get("code")
        event = self.pending_events.pop_rejected(id) if id is None or isinstance(id, str) else None
        shown_code = f"code {abbreviate(code)}"
        if event is None:
            reason = f"an error event that names no event of the client: {abbreviate(id)}, {shown_code}"
            yield Violation("errors", reason)
        elif event.event_type == "response.cancel" and code == NOT_ACTIVE and self.crossed_turns:
            yield AnswerEnded(self.crossed_turns.pop())
        elif event.event_type == "response.create":
            self.pending_creates = [create for create in self.pending_creates if create.id != id]
            if event.item != "not-twice" or code != ALREADY_ACTIVE:
                yield Violation(event.item, f"response.create was refused with {shown_code}")
        elif event.item != "errors" or not event.needs_answer:
            yield Violation(event.item, f"{event.event_type} was refused with {shown_code}")
