"""What OpenHands' agent server tells on its session socket: frames become events, turn by turn.

An answer is made of stretches of text, each the beginning of an event that is kept: a message, or an action
that says something first. Text streams as deltas that are never repeated; the kept event has all of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from voicegw.agents.client.error_body import WORDS
from voicegw.agents.openhands.streamed_text import PAUSE, StreamedText
from voicegw.errors import AgentBusy, AgentError, AgentProtocolError, AgentRejected, AgentTimeout
from voicegw.events import Activity, Event, Usage
from voicegw.wire.json import dumps, loads

OLD = ""
"""The item of every delta on the older socket."""
WAITING = "waiting_for_confirmation"
ENDS = frozenset({"finished", "error", "stuck", "paused", WAITING})
FULL = "ConversationRunLimitExceeded"
SHORT = 80
"""Characters of what a tool is said to do."""
MEANINGS: tuple[tuple[str, type[AgentError]], ...] = (
    ("ratelimit", AgentBusy),
    ("unavailable", AgentBusy),
    ("timeout", AgentTimeout),
    ("authentication", AgentRejected),
    ("permission", AgentRejected),
    ("notfound", AgentRejected),
)
"""What the codes of errors contain, and what that means."""


class OpenHandsTurnDecoder:
    """One turn: `said` are the words that it answers, None where it goes on without any.

    `handed`: it was asked. Nothing counts before our words came back (`begun`), but for `totals`: what the
    conversation used so far, None if we never saw it. `status` is how the turn ended, "" before; one that
    waits for somebody to confirm what it wants to do can go on. `full` tells that our words were taken, but
    not answered since too many others are. What cannot be understood raises `AgentProtocolError`, what the server
    reports an `AgentError`.
    """

    def __init__(self, said: str | None, totals: Usage | None = None, where: str = "OpenHands") -> None:
        self.said = None if said is None else str(loads(dumps(said)))
        self.begun = said is None
        self.handed = False
        self.status = ""
        self.full = False
        self.seq: int | None = None
        self.totals = totals or Usage()
        self._base = totals
        self._where = where
        self._stretches: dict[str, StreamedText] = {}
        self._wanted: dict[str, str] = {}
        self._failure: AgentError | None = None
        self._tail = ""

    @property
    def whole(self) -> bool:
        """Whether nothing more is to come; the reason of a failure comes after it."""
        return bool(self.status) and (self.status != "error" or self._failure is not None)

    @property
    def kept(self) -> bool:
        """Whether the conversation keeps what was said; it forgets what breaks off."""
        return self.full or self.status in ("finished", WAITING)

    @property
    def wanted(self) -> list[str]:
        """What it wants to do, in short, and has not done."""
        return list(self._wanted.values())

    @property
    def used(self) -> Usage:
        """What this turn used, and what came too late to be counted for the one before."""
        now, base = self.totals, self._base or Usage()
        return Usage(
            max(0, now.prompt - base.prompt),
            max(0, now.completion - base.completion),
            max(0, now.cached - base.cached),
            max(0, now.reasoning - base.reasoning),
        )

    def check(self) -> None:
        """Raise what an end means that is none."""
        if self.status == "error":
            raise self._failure or AgentError(f"{self._where} failed")
        if self.status == "stuck":
            raise AgentError(f"{self._where} is stuck: its agent does the same again and again")
        if self.status == "paused":
            raise AgentError(f"{self._where} was told to stop by somebody else")

    def go_on(self) -> None:
        """It was told what becomes of what it wants to do."""
        self.status = ""
        self._wanted.clear()

    def say(self, text: str) -> str:
        """The text as it follows what was said before in this turn."""
        gap = PAUSE if self._tail == "over" and text and not text[0].isspace() else ""
        if text:
            self._tail = "" if text[-1].isspace() else "words"
        return gap + text

    def feed(self, frame: Mapping[str, Any]) -> list[Event]:
        """What one frame of the session socket says."""
        try:
            return self._read(frame)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise AgentProtocolError(f"{self._where} sent a frame of an unknown shape: {error!r}") from error

    def _read(self, frame: Mapping[str, Any]) -> list[Event]:
        match frame.get("type"):
            case "delta":
                text = self._delta(frame)
                return [text] if text else []
            case "durable":
                if type(seq := frame.get("seq")) is int:
                    self.seq = seq
                return self._event(frame["event"])
            case "transient":
                self._state(frame["event"])
            case "item_started" if self.begun:
                self._stretches.setdefault(frame["item_id"], StreamedText())
            case "item_aborted":
                self._stretches.pop(frame["item_id"], None)
                self._tail = self._tail and "over"
            case "sync" if self.seq is None and type(seq := frame.get("through_seq")) is int:
                self.seq = seq
            case "error":
                raise self._refused(str(frame.get("code")), str(frame.get("detail") or ""))
        return []

    def _refused(self, code: str, detail: str) -> AgentError:
        self.full = code == FULL
        if self.full:
            return AgentBusy(f"{self._where} works on as many conversations as it may")
        return AgentError(f"{self._where} refused a frame: {code[:SHORT]}", detail[:WORDS])

    def _delta(self, frame: Mapping[str, Any]) -> str:
        if self.begun and frame["item_id"] == OLD:
            self._stretches.setdefault(OLD, StreamedText())
        stretch = self._stretches.get(frame["item_id"])
        if stretch is None or frame.get("choice_index"):
            return ""
        told = frame["content"] if frame.get("kind", "text") == "text" else ""
        if type(told) is not str:
            raise TypeError(f"content is {type(told).__name__}")
        return self.say(stretch.delta(int(frame.get("attempt") or 1), frame["order"], told))

    def _event(self, event: Mapping[str, Any]) -> list[Event]:
        kind = event.get("kind")
        if kind == "ConversationStateUpdateEvent":
            self._state(event)
        elif not self.begun:
            if kind == "MessageEvent" and event["source"] == "user" and _texts(event) == self.said:
                self.begun, self._base = True, self._base or self.totals
        elif kind == "MessageEvent" and event["source"] == "agent":
            return self._over(event["id"], _texts(event))
        elif kind == "ActionEvent":
            return self._action(event)
        elif kind == "ConversationErrorEvent":
            self._failure = self._meant(str(event.get("code")), str(event.get("detail") or ""))
        elif "tool_call_id" in event:  # an observation of some kind
            self._wanted.pop(event["tool_call_id"], None)
        return []

    def _over(self, id: str, text: str) -> list[Event]:
        """All of a stretch is known: what of it was not said yet."""
        stretch = self._stretches.pop(id, None) or self._stretches.pop(OLD, None) or StreamedText()
        rest = self.say(stretch.rest(text))
        self._tail = self._tail and "over"
        return [rest] if rest else []

    def _action(self, event: Mapping[str, Any]) -> list[Event]:
        thought = "".join(map(_text, event.get("thought") or ()))
        said = self._over(event["id"], thought)
        action = event.get("action") or {}
        if action.get("kind") == "FinishAction":
            message = str(action.get("message") or "")
            repeated = " ".join(message.split()) in " ".join(thought.split())
            return said if repeated else said + self._over(OLD, message)
        what = " ".join(str(event.get("summary") or event.get("tool_name") or "").split())[:SHORT]
        what = what.strip(" .,:;!?") or "a tool"
        self._wanted[event["tool_call_id"]] = what
        return [*said, Activity(what)]

    def _state(self, event: Mapping[str, Any]) -> None:
        key, value = event.get("key"), event.get("value")
        if key == "execution_status" and self.begun:
            self.status = value if value in ENDS else ""
        elif key == "stats":
            self._count(value)
        elif key == "full_state" and isinstance(value, Mapping):
            self._count(value.get("stats"))

    def _count(self, stats: Any) -> None:
        """What all models of the conversation used by now."""
        metrics = stats.get("usage_to_metrics") if isinstance(stats, Mapping) else None
        if not metrics:
            return
        spent = [one.get("accumulated_token_usage") or {} for one in metrics.values()]
        names = ("prompt_tokens", "completion_tokens", "cache_read_tokens", "reasoning_tokens")
        self.totals = Usage(*(sum(int(one.get(name) or 0) for one in spent) for name in names))

    def _meant(self, code: str, detail: str) -> AgentError:
        plain = code.lower()
        kind = next((kind for mark, kind in MEANINGS if mark in plain), AgentError)
        return kind(f"{self._where} failed: {code[:SHORT]}", " ".join(detail.split())[:WORDS])


def legacy(event: Mapping[str, Any]) -> dict[str, Any]:
    """The frame that an event of the older socket stands for: events are bare there, and have no numbers.

    It does not say which event a delta belongs to; there is one at a time.
    """
    kind = event.get("kind")
    if kind == "StreamingDeltaEvent":
        return {"type": "delta", "item_id": OLD, "order": None, "content": event.get("content") or ""}
    kept = event.get("key") != "full_state"
    return {"type": "durable" if kept else "transient", "event": event}


def _texts(event: Mapping[str, Any]) -> str:
    """The text of a message."""
    content = event["llm_message"]["content"]
    return content if isinstance(content, str) else "".join(map(_text, content))


def _text(part: Mapping[str, Any]) -> str:
    text = part.get("text") if part.get("type", "text") == "text" else ""
    return text if isinstance(text, str) else ""
