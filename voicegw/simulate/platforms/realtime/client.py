"""A client of OpenAI's Realtime protocol: a bridge with its own speech recognition and synthesis. Pure.

It sends and receives text only. The gateway's side, `voicegw.platforms.realtime`, is not used here.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from urllib.parse import quote

from voicegw.simulate.checks import Check
from voicegw.simulate.platform import (
    CHARS_PER_SECOND,
    NO_DTMF,
    Frame,
    PlatformTraits,
    WebSocketEntry,
    abbreviate,
)
from voicegw.simulate.platforms.realtime.checks import build_checks
from voicegw.simulate.platforms.realtime.pending import PendingEvents
from voicegw.simulate.platforms.realtime.response import JsonObject, ResponseItem
from voicegw.simulate.platforms.realtime.session import TRUNCATE, HistoryEntry, RealtimeClientSession
from voicegw.simulate.recording import AnswerEnded, Observation
from voicegw.simulate.script import CallScript

MALFORMED_EVENTS: Sequence[tuple[str, JsonObject]] = (
    ("weather", {"rain": True}),
    ("session.update", {"session": 7}),
    ("conversation.item.create", {"item": {"type": "message", "role": "moon", "content": []}}),
    (TRUNCATE, {"item_id": "item_none", "content_index": 0, "audio_end_ms": 0}),
)
MALFORMED_TEXTS = ("{", "[]")


class SimulatedRealtimeClient:
    """Plays one call. `secret` is the gateway's API key, `model` the agent to ask for; "" for none.

    `random_hex` returns random hexadecimal digits for a number of bytes.
    """

    name = "realtime"
    ping_interval: float | None = None
    traits = PlatformTraits(NO_DTMF)
    may_reply_twice = False
    checks: Sequence[Check]

    def __init__(
        self,
        script: CallScript,
        secret: str = "",
        *,
        model: str = "",
        random_hex: Callable[[int], str] = secrets.token_hex,
    ) -> None:
        self.script = script  # the caller's turns, the prompt and the tools
        self.secret = secret
        self.model = model
        self.pending_events = PendingEvents(random_hex(4))  # the events that await an answer
        self.checks = build_checks(self.pending_events.missing_answers)
        self.turn: int | None = None  # the index of the newest turn; None before the first
        self.is_answered = True  # has its answer ended?
        self.history: list[HistoryEntry] = []  # the conversation, across all sockets
        self.session = self._new_session()  # that of the current socket

    def build_url(self, url: str) -> str:
        """Return the URL of the websocket below `url`, the base URL of OpenAI's clients.

        A `url` that ends with the websocket's path keeps it.
        """
        base, _, query = url.partition("?")
        scheme, _, rest = base.rpartition("://")
        scheme, rest = {"https": "wss", "http": "ws", "": "ws"}.get(scheme, scheme), rest.rstrip("/")
        if not rest.endswith("/realtime"):
            rest += "/realtime" if rest.endswith("/v1") else "/v1/realtime"
        model = f"model={quote(self.model, safe='')}" if self.model else ""
        return f"{scheme}://{rest}?{'&'.join(filter(None, (query, model)))}".rstrip("?")

    def build_headers(self, url: str, *, forged: bool = False) -> Mapping[str, str]:
        """Return the key; with `forged`, a wrong one."""
        if not (self.secret or forged):
            return {}
        return {"Authorization": f"Bearer {self.secret}{'-forged' if forged else ''}"}

    def start(self, *, reconnecting: bool, resend: bool = True) -> Sequence[Frame]:
        """Return a session.update; after a lost connection also the history and an unanswered question."""
        lost = [id(item) for item in self.session.unfinished_items]
        self.history = [entry for entry in self.history if id(entry) not in lost]
        self.session = self._new_session()
        self.pending_events.reset_connection()
        self.pending_events.expect("session-first", "session.created")
        session = {
            "type": "realtime",
            "instructions": self.script.prompt,
            "output_modalities": ["text"],
            "tools": [
                {"type": "function", **tool.model_dump(include={"name", "description", "parameters"})}
                for tool in self.script.tools
            ],
        }
        update = self.pending_events.encode_event(
            "session.update", "session-first", needs_answer=True, session=session
        )
        is_unanswered = self.turn is not None and not self.is_answered
        question = (self.session.create_response(self.turn or 0),) if is_unanswered else ()
        return (update, *map(self.session.encode_item, self._history_items()), *question)

    def encode_partial(self, text: str) -> Sequence[Frame]:
        return ()

    def ask(self, text: str | None) -> Sequence[Frame]:
        """Return an item with the text, and a response.create; an active response is cancelled first."""
        frames = self.session.cancel_responses()
        if text is not None:
            item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
            self.history.append(item)
            frames.append(self.session.encode_item(item))
        self.turn = 0 if self.turn is None else self.turn + 1
        self.is_answered = False
        return (*frames, self.session.create_response(self.turn))

    def press(self, digits: str) -> Sequence[Frame]:
        return ()

    def repeat(self) -> Sequence[Frame]:
        """Return a second response.create during the response."""
        return (self.session.create_response(self.turn or 0, is_duplicate=True),)

    def interrupt(self, heard_text: str, *, older: bool = False) -> Sequence[Frame]:
        """Cancel the response, and truncate the messages of the turn to the heard text.

        With `older`, the messages of the turn before are truncated, and no response is cancelled.
        """
        frames = [] if older else self.session.cancel_responses()
        turn = (self.turn or 0) - 1 if older else self.turn
        for item in self.session.messages_for(turn):
            prefix, heard_text = heard_text[: len(item.text)], heard_text[len(item.text) :]
            if prefix != item.text or not item.is_done:
                item.heard_prefix = prefix
                frames.append(self._encode_truncate(item.id, prefix))
        return tuple(frames)

    def encode_malformed(self) -> Sequence[Frame]:
        """Return events of an unknown type or with wrong fields, and texts that are no event."""
        events = [
            self.pending_events.encode_event(event_type, "errors", needs_answer=True, **fields)
            for event_type, fields in MALFORMED_EVENTS
        ]
        for text in MALFORMED_TEXTS:
            self.pending_events.expect("errors", abbreviate(text))
        return (*events, *MALFORMED_TEXTS)

    def ping(self) -> Sequence[Frame]:
        return ()

    def hang_up(self) -> Sequence[Frame]:
        return ()

    def receive(self, frame: Frame) -> Sequence[Observation]:
        """Return the observations in a frame from the gateway. It never raises."""
        observations = tuple(self.session.receive(frame))
        self.is_answered = self.is_answered or AnswerEnded(self.turn) in observations
        return observations

    def _new_session(self) -> RealtimeClientSession:
        """Return a session without any active or pending response."""
        results = {tool.name: tool.result for tool in self.script.tools}
        return RealtimeClientSession(self.pending_events, results, self.history)

    def _history_items(self) -> Iterator[JsonObject]:
        """Yield the conversation so far, as items."""
        for entry in self.history:
            if not isinstance(entry, ResponseItem):
                yield entry
            elif entry.heard_text:
                content = [{"type": "output_text", "text": entry.heard_text}]
                yield {"type": "message", "role": "assistant", "content": content}

    def _encode_truncate(self, item_id: str, heard_text: str) -> Frame:
        audio_end_ms = int(len(heard_text) / CHARS_PER_SECOND * 1000)
        fields = {"item_id": item_id, "content_index": 0, "audio_end_ms": audio_end_ms}
        return self.pending_events.encode_event(
            TRUNCATE, "truncates", needs_answer=True, **fields, heard=heard_text
        )


REALTIME = WebSocketEntry(
    name="realtime",
    make=lambda script, setup, now: SimulatedRealtimeClient(script, setup.secret, model=setup.model),
)
