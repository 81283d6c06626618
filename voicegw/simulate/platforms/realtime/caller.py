"""The caller of OpenAI's realtime protocol: a bridge that hears and speaks itself, and sends text. Pure."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from urllib.parse import quote

from voicegw.simulate.checks import Check
from voicegw.simulate.platform import NO_DTMF, Frame, PlatformTraits, abbreviate
from voicegw.simulate.platforms.realtime.checks import build_checks
from voicegw.simulate.platforms.realtime.pending import PendingEvents
from voicegw.simulate.platforms.realtime.response import JsonObject, ResponseItem
from voicegw.simulate.platforms.realtime.session import TRUNCATE, HistoryEntry, RealtimeClientSession
from voicegw.simulate.recording import AnswerEnded, Observation
from voicegw.simulate.script import CallScript

CHARS_PER_SECOND = 15.0
"""Characters of speech per second."""
MALFORMED_EVENTS: Sequence[tuple[str, JsonObject]] = (
    ("weather", {"rain": True}),
    ("session.update", {"session": 7}),
    ("conversation.item.create", {"item": {"type": "message", "role": "moon", "content": []}}),
    (TRUNCATE, {"item_id": "item_none", "content_index": 0, "audio_end_ms": 0}),
)
MALFORMED_TEXTS = ("{", "[]")


class SimulatedRealtimeClient:
    """One call. `secret` is the key that opens the gateway; `model` names what is to answer, if given.

    `hex` gives random hexadecimal digits for so many bytes.
    """

    name = "realtime"
    ping_interval: float | None = None
    traits = PlatformTraits(NO_DTMF)
    checks: Sequence[Check]

    def __init__(
        self,
        script: CallScript,
        secret: str = "",
        *,
        model: str = "",
        random_hex: Callable[[int], str] = secrets.token_hex,
    ) -> None:
        self.script = script
        self.secret = secret
        self.model = model
        self.pending_events = PendingEvents(random_hex(4))
        self.checks = build_checks(self.pending_events.missing_answers)
        self.turn: int | None = None
        self.is_answered = True
        self.history: list[HistoryEntry] = []
        self.session = self._connect()

    def build_url(self, url: str) -> str:
        """The websocket at the base address that OpenAI's clients are given, which may be whole already."""
        base, _, query = url.partition("?")
        scheme, _, rest = base.rpartition("://")
        scheme, rest = {"https": "wss", "http": "ws", "": "ws"}.get(scheme, scheme), rest.rstrip("/")
        if not rest.endswith("/realtime"):
            rest += "/realtime" if rest.endswith("/v1") else "/v1/realtime"
        model = f"model={quote(self.model, safe='')}" if self.model else ""
        return f"{scheme}://{rest}?{'&'.join(filter(None, (query, model)))}".rstrip("?")

    def build_headers(self, url: str, *, forged: bool = False) -> Mapping[str, str]:
        """The key; where `forged`, a wrong one."""
        if not (self.secret or forged):
            return {}
        return {"Authorization": f"Bearer {self.secret}{'-forged' if forged else ''}"}

    def start(self, *, reconnecting: bool) -> Sequence[Frame]:
        """The session; a call that comes back tells what was said, and asks again what was not answered."""
        lost = [id(piece) for piece in self.session.unfinished_items]
        self.history = [entry for entry in self.history if id(entry) not in lost]
        self.session = self._connect()
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
        update = self.pending_events.encode_event("session.update", "session-first", needs_answer=True, session=session)
        question = () if self.turn is None or self.is_answered else (self.session.create_response(self.turn),)
        return (update, *map(self.session.encode_item, self._told()), *question)

    def encode_partial(self, text: str) -> Sequence[Frame]:
        return ()

    def ask(self, text: str | None) -> Sequence[Frame]:
        """What was said is an item, and wants a response; one that is being made is cancelled first."""
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
        """One more response is wanted, while one is being made."""
        return (self.session.create_response(self.turn or 0, is_duplicate=True),)

    def interrupt(self, heard_text: str) -> Sequence[Frame]:
        """The response is cancelled, and the messages of the turn are cut to what was heard."""
        frames = self.session.cancel_responses()
        for piece in self.session.messages_for(self.turn):
            kept, heard_text = heard_text[: len(piece.text)], heard_text[len(piece.text) :]
            if kept != piece.text or not piece.is_done:
                piece.heard_prefix = kept
                frames.append(self._truncate(piece.id, kept))
        return tuple(frames)

    def encode_malformed(self) -> Sequence[Frame]:
        """Events of no known kind or with broken fields, and texts that are none."""
        events = [self.pending_events.encode_event(kind, "errors", needs_answer=True, **fields) for kind, fields in MALFORMED_EVENTS]
        for garbled in MALFORMED_TEXTS:
            self.pending_events.expect("errors", abbreviate(garbled))
        return (*events, *MALFORMED_TEXTS)

    def ping(self) -> Sequence[Frame]:
        return ()

    def hang_up(self) -> Sequence[Frame]:
        return ()

    def receive(self, frame: Frame) -> Sequence[Observation]:
        """What a frame of the gateway's means. Never raises."""
        found = tuple(self.session.receive(frame))
        self.is_answered = self.is_answered or AnswerEnded(self.turn) in found
        return found

    def _connect(self) -> RealtimeClientSession:
        """A new session, to which nothing that was under way before matters."""
        results = {tool.name: tool.result for tool in self.script.tools}
        return RealtimeClientSession(self.pending_events, results, self.history)

    def _told(self) -> Iterator[JsonObject]:
        """The conversation so far, as items."""
        for entry in self.history:
            if not isinstance(entry, ResponseItem):
                yield entry
            elif entry.heard_text:
                content = [{"type": "output_text", "text": entry.heard_text}]
                yield {"type": "message", "role": "assistant", "content": content}

    def _truncate(self, id: str, kept: str) -> Frame:
        lasted = int(len(kept) / CHARS_PER_SECOND * 1000)
        place = {"item_id": id, "content_index": 0, "audio_end_ms": lasted}
        return self.pending_events.encode_event(TRUNCATE, "truncates", needs_answer=True, **place, heard=kept)
