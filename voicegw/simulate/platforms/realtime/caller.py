"""The caller of OpenAI's realtime protocol: a bridge that hears and speaks itself, and sends text. Pure."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from urllib.parse import quote

from voicegw.simulate.checks import Check
from voicegw.simulate.platform import KEYLESS, Frame, Ways, shown
from voicegw.simulate.platforms.realtime.checks import checks
from voicegw.simulate.platforms.realtime.pending import Book
from voicegw.simulate.platforms.realtime.response import Object, Piece
from voicegw.simulate.platforms.realtime.session import TRUNCATE, Entry, Session
from voicegw.simulate.recording import Done, Heard
from voicegw.simulate.script import Script

PACE = 15.0
"""Characters of speech per second."""
BROKEN: Sequence[tuple[str, Object]] = (
    ("weather", {"rain": True}),
    ("session.update", {"session": 7}),
    ("conversation.item.create", {"item": {"type": "message", "role": "moon", "content": []}}),
    (TRUNCATE, {"item_id": "item_none", "content_index": 0, "audio_end_ms": 0}),
)
GARBLED = ("{", "[]")


class Realtime:
    """One call. `secret` is the key that opens the gateway; `model` names what is to answer, if given.

    `hex` gives random hexadecimal digits for so many bytes.
    """

    name = "realtime"
    every: float | None = None
    ways = Ways(KEYLESS)
    checks: Sequence[Check]

    def __init__(
        self,
        script: Script,
        secret: str = "",
        *,
        model: str = "",
        hex: Callable[[int], str] = secrets.token_hex,
    ) -> None:
        self.script = script
        self.secret = secret
        self.model = model
        self.book = Book(hex(4))
        self.checks = checks(self.book.owed)
        self.turn: int | None = None
        self.answered = True
        self.history: list[Entry] = []
        self.session = self._connect()

    def address(self, url: str) -> str:
        """The websocket at the base address that OpenAI's clients are given, which may be whole already."""
        base, _, query = url.partition("?")
        scheme, _, rest = base.rpartition("://")
        scheme, rest = {"https": "wss", "http": "ws", "": "ws"}.get(scheme, scheme), rest.rstrip("/")
        if not rest.endswith("/realtime"):
            rest += "/realtime" if rest.endswith("/v1") else "/v1/realtime"
        model = f"model={quote(self.model, safe='')}" if self.model else ""
        return f"{scheme}://{rest}?{'&'.join(filter(None, (query, model)))}".rstrip("?")

    def headers(self, address: str, *, forged: bool = False) -> Mapping[str, str]:
        """The key; where `forged`, a wrong one."""
        if not (self.secret or forged):
            return {}
        return {"Authorization": f"Bearer {self.secret}{'-forged' if forged else ''}"}

    def open(self, *, again: bool) -> Sequence[Frame]:
        """The session; a call that comes back tells what was said, and asks again what was not answered."""
        lost = [id(piece) for piece in self.session.unfinished]
        self.history = [entry for entry in self.history if id(entry) not in lost]
        self.session = self._connect()
        self.book.forget()
        self.book.expect("session-first", "session.created")
        session = {
            "type": "realtime",
            "instructions": self.script.prompt,
            "output_modalities": ["text"],
            "tools": [
                {"type": "function", **tool.model_dump(include={"name", "description", "parameters"})}
                for tool in self.script.tools
            ],
        }
        update = self.book.event("session.update", "session-first", needed=True, session=session)
        question = () if self.turn is None or self.answered else (self.session.create(self.turn),)
        return (update, *map(self.session.item, self._told()), *question)

    def partial(self, words: str) -> Sequence[Frame]:
        return ()

    def ask(self, said: str | None) -> Sequence[Frame]:
        """What was said is an item, and wants a response; one that is being made is cancelled first."""
        frames = self.session.cancel()
        if said is not None:
            item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": said}]}
            self.history.append(item)
            frames.append(self.session.item(item))
        self.turn = 0 if self.turn is None else self.turn + 1
        self.answered = False
        return (*frames, self.session.create(self.turn))

    def press(self, digits: str) -> Sequence[Frame]:
        return ()

    def repeat(self) -> Sequence[Frame]:
        """One more response is wanted, while one is being made."""
        return (self.session.create(self.turn or 0, twin=True),)

    def interrupt(self, heard: str) -> Sequence[Frame]:
        """The response is cancelled, and the messages of the turn are cut to what was heard."""
        frames = self.session.cancel()
        for piece in self.session.spoken(self.turn):
            kept, heard = heard[: len(piece.text)], heard[len(piece.text) :]
            if kept != piece.text or not piece.closed:
                piece.kept = kept
                frames.append(self._truncate(piece.id, kept))
        return tuple(frames)

    def nonsense(self) -> Sequence[Frame]:
        """Events of no known kind or with broken fields, and texts that are none."""
        events = [self.book.event(kind, "errors", needed=True, **fields) for kind, fields in BROKEN]
        for garbled in GARBLED:
            self.book.expect("errors", shown(garbled))
        return (*events, *GARBLED)

    def ping(self) -> Sequence[Frame]:
        return ()

    def leave(self) -> Sequence[Frame]:
        return ()

    def hear(self, frame: Frame) -> Sequence[Heard]:
        """What a frame of the gateway's means. Never raises."""
        found = tuple(self.session.hear(frame))
        self.answered = self.answered or Done(self.turn) in found
        return found

    def _connect(self) -> Session:
        """A new session, to which nothing that was under way before matters."""
        results = {tool.name: tool.result for tool in self.script.tools}
        return Session(self.book, results, self.history)

    def _told(self) -> Iterator[Object]:
        """The conversation so far, as items."""
        for entry in self.history:
            if not isinstance(entry, Piece):
                yield entry
            elif entry.heard:
                content = [{"type": "output_text", "text": entry.heard}]
                yield {"type": "message", "role": "assistant", "content": content}

    def _truncate(self, id: str, kept: str) -> Frame:
        lasted = int(len(kept) / PACE * 1000)
        place = {"item_id": id, "content_index": 0, "audio_end_ms": lasted}
        return self.book.event(TRUNCATE, "truncates", needed=True, **place, heard=kept)
