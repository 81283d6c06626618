"""Decodes the frames of OpenHands' session socket into events, one turn at a time. No I/O.

An answer consists of texts. Each is the beginning of a durable event: a message, or an action that says
something first. A text streams as deltas, which are never repeated; its durable event has all of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from voicegw.agents.client.error_body import MAX_QUOTE_CHARS, describe_code
from voicegw.agents.openhands.streamed_text import PARAGRAPH_BREAK, StreamedText
from voicegw.errors import AgentBusy, AgentError, AgentProtocolError, AgentRejected, AgentTimeout
from voicegw.events import REASONING, Activity, Event, Usage
from voicegw.wire.json import dumps, loads

LEGACY_ITEM = ""
"""The item id of every delta on the events socket of older servers."""
WAITING_FOR_CONFIRMATION = "waiting_for_confirmation"
END_STATUSES = frozenset({"finished", "error", "stuck", "paused", "deleting", WAITING_FOR_CONFIRMATION})
"""Values of `execution_status` at which a run is no longer active."""
RUN_LIMIT_EXCEEDED = "ConversationRunLimitExceeded"
"""The error code when the server keeps a message but starts no run, because too many are active."""
MAX_SUMMARY_CHARS = 80
"""Characters of the text that describes an action."""
ERROR_CLASSES: tuple[tuple[str, type[AgentError]], ...] = (
    ("ratelimit", AgentBusy),
    ("unavailable", AgentBusy),
    ("timeout", AgentTimeout),
    ("authentication", AgentRejected),
    ("permission", AgentRejected),
    ("notfound", AgentRejected),
)
"""Parts of error codes, in lower case, and the error that each stands for; the first match counts."""


class OpenHandsTurnDecoder:
    """Decodes the frames of one turn.

    `prompt` is the text that the turn sends, None if its run continues without one. Frames before the prompt
    comes back belong to earlier turns; only their usage counts. `total_usage` is what the conversation used
    before, None if unknown. `where` names the server in errors.
    """

    def __init__(
        self, prompt: str | None, total_usage: Usage | None = None, where: str = "OpenHands"
    ) -> None:
        # The prompt as it comes back: JSON replaces lone surrogates.
        self.prompt = None if prompt is None else str(loads(dumps(prompt)))
        # Whether the prompt came back, so that frames belong to this turn.
        self.started = prompt is None
        # Whether the prompt was sent, or may have been; set by the agent.
        self.sent = False
        # The execution status that ended the turn, "" while it runs.
        self.status = ""
        # Whether the server keeps the prompt but does not answer it, since too many runs are active.
        self.run_limit_reached = False
        # The number of the last durable event; None before the first.
        self.seq: int | None = None
        # The tokens that the conversation used so far.
        self.total_usage = total_usage or Usage()
        self._usage_before = total_usage
        self._where = where
        self._texts: dict[str, StreamedText] = {}
        self._pending: dict[str, str] = {}
        self._failure: AgentError | None = None
        # How the spoken text ends: "" before any text or with a blank, "open" in a text, "closed" after it.
        self._tail = ""

    @property
    def is_complete(self) -> bool:
        """Whether no more frames are needed. The reason of an error comes after the status."""
        return bool(self.status) and (self.status != "error" or self._failure is not None)

    @property
    def is_remembered(self) -> bool:
        """Whether the conversation keeps what was spoken. The server forgets an answer that breaks off."""
        return self.run_limit_reached or self.status in ("finished", WAITING_FOR_CONFIRMATION)

    @property
    def pending_actions(self) -> list[str]:
        """A short text for each action that is announced and neither executed nor rejected."""
        return list(self._pending.values())

    @property
    def usage(self) -> Usage:
        """The tokens of this turn, with those of the turn before that were reported too late."""
        now, before = self.total_usage, self._usage_before or Usage()
        return Usage(
            max(0, now.prompt - before.prompt),
            max(0, now.completion - before.completion),
            max(0, now.cached - before.cached),
            max(0, now.reasoning - before.reasoning),
        )

    def raise_for_status(self) -> None:
        """Raise the error that the status stands for; do nothing if the turn finished or waits.

        Raises `AgentError` for a run that failed, is stuck, or was stopped by another client; a failed run
        may raise `AgentBusy`, `AgentTimeout` or `AgentRejected`.
        """
        if self.status == "error":
            raise self._failure or AgentError(f"{self._where} failed")
        if self.status == "stuck":
            raise AgentError(f"{self._where} is stuck: its agent repeats the same action")
        if self.status in ("paused", "deleting"):
            raise AgentError(f"{self._where} was stopped by another client")

    def resume(self) -> None:
        """Continue the turn after its pending actions were rejected."""
        self.status = ""
        self._pending.clear()

    def separate(self, text: str) -> str:
        """Return `text`, with a paragraph break before it if it follows a text that is complete."""
        gap = PARAGRAPH_BREAK if self._tail == "closed" and text and not text[0].isspace() else ""
        if text:
            self._tail = "" if text[-1].isspace() else "open"
        return gap + text

    def feed(self, frame: Mapping[str, Any]) -> list[Event]:
        """Return the events of one frame of the session socket.

        Raises `AgentProtocolError` for a frame of an unknown shape, and `AgentBusy` or `AgentError` if the
        server reports that it refused a frame.
        """
        try:
            return self._decode(frame)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise AgentProtocolError(
                f"{self._where} sent a frame of an unknown shape", repr(error)
            ) from error

    def _decode(self, frame: Mapping[str, Any]) -> list[Event]:
        match frame.get("type"):
            case "delta":
                return self._delta(frame)
            case "durable":
                if type(seq := frame.get("seq")) is int:
                    self.seq = seq
                return self._durable_event(frame["event"])
            case "transient":
                self._state_update(frame["event"])
            case "item_started" if self.started:
                self._texts.setdefault(frame["item_id"], StreamedText())
            case "item_aborted":
                self._texts.pop(frame["item_id"], None)
                self._tail = self._tail and "closed"
            case "sync" if self.seq is None and type(seq := frame.get("through_seq")) is int:
                self.seq = seq
            case "error":
                raise self._frame_error(str(frame.get("code")), str(frame.get("detail") or ""))
        return []

    def _frame_error(self, code: str, detail: str) -> AgentError:
        self.run_limit_reached = code == RUN_LIMIT_EXCEEDED
        if self.run_limit_reached:
            return AgentBusy(f"{self._where} runs as many conversations as it may")
        summary = f"{self._where} refused a frame:"
        return AgentError(*describe_code(summary, code, "an unknown reason", detail[:MAX_QUOTE_CHARS]))

    def _delta(self, frame: Mapping[str, Any]) -> list[Event]:
        if self.started and frame["item_id"] == LEGACY_ITEM:
            self._texts.setdefault(LEGACY_ITEM, StreamedText())
        streamed = self._texts.get(frame["item_id"])
        if streamed is None or frame.get("choice_index"):
            return []
        is_text = frame.get("kind", "text") == "text"
        content = frame["content"] if is_text else ""
        if type(content) is not str:
            raise TypeError(f"content is {type(content).__name__}")
        text = self.separate(streamed.feed(int(frame.get("attempt") or 1), frame["order"], content))
        return [text] if text else [] if is_text else [REASONING]

    def _durable_event(self, event: Mapping[str, Any]) -> list[Event]:
        kind = event.get("kind")
        if kind == "ConversationStateUpdateEvent":
            self._state_update(event)
        elif not self.started:
            if kind == "MessageEvent" and event["source"] == "user" and _message_text(event) == self.prompt:
                self.started, self._usage_before = True, self._usage_before or self.total_usage
        elif kind == "MessageEvent" and event["source"] == "agent":
            return self._finish_text(event["id"], _message_text(event))
        elif kind == "ActionEvent":
            return self._action(event)
        elif kind == "ConversationErrorEvent":
            self._failure = self._run_error(str(event.get("code")), str(event.get("detail") or ""))
        elif "tool_call_id" in event:  # an observation of any kind: the action was executed or rejected
            was_pending = self._pending.pop(event["tool_call_id"], None) is not None
            return [REASONING] if was_pending else []  # the model goes on
        return []

    def _finish_text(self, id: str, text: str) -> list[Event]:
        """Return the part of a complete text that is not spoken yet."""
        streamed = self._texts.pop(id, None) or self._texts.pop(LEGACY_ITEM, None) or StreamedText()
        rest = self.separate(streamed.finish(text))
        self._tail = self._tail and "closed"
        return [rest] if rest else []

    def _action(self, event: Mapping[str, Any]) -> list[Event]:
        thought = "".join(map(_part_text, event.get("thought") or ()))
        events = self._finish_text(event["id"], thought)
        action = event.get("action") or {}
        if action.get("kind") == "FinishAction":
            message = str(action.get("message") or "")
            is_repeated = " ".join(message.split()) in " ".join(thought.split())
            return events if is_repeated else events + self._finish_text(LEGACY_ITEM, message)
        summary = " ".join(str(event.get("summary") or event.get("tool_name") or "").split())
        summary = summary[:MAX_SUMMARY_CHARS].strip(" .,:;!?") or "a tool"
        self._pending[event["tool_call_id"]] = summary
        return [*events, Activity(summary)]

    def _state_update(self, event: Mapping[str, Any]) -> None:
        key, value = event.get("key"), event.get("value")
        if key == "execution_status" and self.started:
            self.status = value if value in END_STATUSES else ""
        elif key == "stats":
            self._count_usage(value)
        elif key == "full_state" and isinstance(value, Mapping):
            self._count_usage(value.get("stats"))

    def _count_usage(self, stats: Any) -> None:
        """Add up the tokens that all models of the conversation used so far."""
        metrics = stats.get("usage_to_metrics") if isinstance(stats, Mapping) else None
        if not metrics:
            return
        per_model = [one.get("accumulated_token_usage") or {} for one in metrics.values()]
        names = ("prompt_tokens", "completion_tokens", "cache_read_tokens", "reasoning_tokens")
        self.total_usage = Usage(*(sum(int(one.get(name) or 0) for one in per_model) for name in names))

    def _run_error(self, code: str, detail: str) -> AgentError:
        lower = code.lower()
        error_class = next((found for part, found in ERROR_CLASSES if part in lower), AgentError)
        words = " ".join(detail.split())[:MAX_QUOTE_CHARS]
        return error_class(*describe_code(f"{self._where} failed:", code, "an unknown reason", words))


def from_legacy_event(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return the frame that an event of the older events socket stands for.

    On that socket events come without a frame and have no numbers. A delta does not name its event; only one
    streams at a time.
    """
    kind = event.get("kind")
    if kind == "StreamingDeltaEvent":
        delta = {
            "type": "delta",
            "item_id": LEGACY_ITEM,
            "order": None,
            "content": event.get("content") or "",
        }
        return (
            delta if delta["content"] or not event.get("reasoning_content") else delta | {"kind": "reasoning"}
        )
    is_durable = event.get("key") != "full_state"
    return {"type": "durable" if is_durable else "transient", "event": event}


def _message_text(event: Mapping[str, Any]) -> str:
    content = event["llm_message"]["content"]
    return content if isinstance(content, str) else "".join(map(_part_text, content))


def _part_text(part: Mapping[str, Any]) -> str:
    text = part.get("text") if part.get("type", "text") == "text" else ""
    return text if isinstance(text, str) else ""
