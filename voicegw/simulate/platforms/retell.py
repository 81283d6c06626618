"""The caller of Retell's custom LLM websocket. Pure."""

from __future__ import annotations

import json
import secrets
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from voicegw.simulate.checks import Check
from voicegw.simulate.platform import KEYLESS, Frame, Ways, opened, shown, written
from voicegw.simulate.platforms.retell_checks import ACTIONS, CHECKS, odd
from voicegw.simulate.recording import Acted, Done, Heard, HungUp, Ponged, Returned, Words, Wrong
from voicegw.simulate.script import Script
from voicegw.simulate.transcript import Entry, Transcript

Object: TypeAlias = dict[str, Any]
NONSENSE: tuple[Frame, ...] = (
    '{"interaction_type":"weather","rain":true}',
    '{"interaction_type":"update_only","transcript":[{"role":"moon","content":null},7],"turntaking":"nobody"}',
    '{"interaction_type":null}',
    "[]",
    "{",
)


class Retell:
    """One call of Retell's.

    The secret of such a call, if there is one, is part of the address that the operator enters. `now` is the
    time of day in seconds since 1970; `hex` gives random hexadecimal digits for so many bytes.
    """

    name = "retell"
    every: float | None = 2.0
    ways = Ways(KEYLESS, mutes=True, renews=True)
    checks: Sequence[Check] = CHECKS

    def __init__(
        self,
        script: Script,
        secret: str = "",
        *,
        now: float = 0.0,
        hex: Callable[[int], str] = secrets.token_hex,
    ) -> None:
        self.script = script
        self.call = f"call_{hex(14)}"
        self.began = int(now * 1000)
        self.config: Object | None = None  # that of the present socket
        self.talk = Transcript()
        self.newest = 0  # the number of the newest request
        self.turn: int | None = None  # and of the question that it asks
        self.turns: dict[int, int | None] = {0: None}
        self.complete: set[int] = set()
        self.spoken: set[int] = set()  # the answers with words
        self.asking = "response_required"
        self.stopped = False  # was the newest answer interrupted?
        self.updated = False  # did an update come since it was complete?
        self.back = False  # did the call come back?
        self.pinged: deque[int] = deque()
        self.pings = 0
        self.tools: dict[str, str] = {}

    def address(self, url: str) -> str:
        """The call's own address below the one that was entered."""
        base, mark, query = url.partition("?")
        scheme, sep, rest = base.partition("://")
        scheme = {"https": "wss", "http": "ws"}.get(scheme.lower(), scheme)
        return f"{scheme}{sep}{rest.rstrip('/')}/{self.call}{mark}{query}"

    def headers(self, address: str, *, forged: bool = False) -> Mapping[str, str]:
        """None: Retell proves nothing."""
        return {}

    def open(self, *, again: bool) -> Sequence[Frame]:
        """Nothing; a call that comes back asks again what was not answered."""
        self.config, self.back = None, again
        self.pinged.clear()
        if not again or self.turn is None or self.newest in self.complete:
            return ()
        return self.repeat()

    def partial(self, words: str) -> Sequence[Frame]:
        """An update with words that may still change."""
        return (self._update(self.talk.perhaps(words)),)

    def ask(self, said: str | None) -> Sequence[Frame]:
        if said is not None:
            self.talk.asked(said)
        self.asking = "reminder_required" if said is None else "response_required"
        self.turn = 0 if self.turn is None else self.turn + 1
        return self._request()

    def press(self, digits: str) -> Sequence[Frame]:
        return ()

    def repeat(self) -> Sequence[Frame]:
        """The same request under a new number; what was said in answer to the old one is forgotten."""
        self.talk.cut("")
        return self._request()

    def interrupt(self, heard: str) -> Sequence[Frame]:
        """An update: of the answer the transcript keeps what was heard. Its further words are not spoken."""
        self.stopped = True
        self.talk.cut(heard)
        return (self._update(self.talk.entries),)

    def nonsense(self) -> Sequence[Frame]:
        return NONSENSE

    def ping(self) -> Sequence[Frame]:
        """A ping with a time of its own, if the gateway asked for that."""
        if not (self.config or {}).get("auto_reconnect"):
            return ()
        self.pings += 1
        self.pinged.append(self.began + self.pings)
        return (written(interaction_type="ping_pong", timestamp=self.pinged[-1]),)

    def leave(self) -> Sequence[Frame]:
        return ()

    def hear(self, frame: Frame) -> Sequence[Heard]:
        """What a frame of the gateway's means. Never raises."""
        data = opened(frame)
        if isinstance(data, str):
            return (Wrong("types", data),)
        kind = data.get("response_type", "response")
        if (why := odd(data, kind)) is not None:
            return (Wrong("types", why),)
        early = self.config is None and kind != "config"
        self.config = {} if early else self.config
        wrong = (Wrong("config-first", f"{kind} came before config"),) if early else ()
        return (*wrong, *self._heard(kind, data))

    def _heard(self, kind: str, data: Object) -> Iterator[Heard]:
        match kind:
            case "response":
                yield from self._response(data["response_id"], data)
            case "config":
                yield from self._configured(data["config"])
            case "ping_pong":
                yield from self._ponged(data["timestamp"])
            case "agent_interrupt":
                yield Words(self.turn, data["content"])
            case "tool_call_invocation":
                yield from self._invoked(data)
            case "tool_call_result":
                yield from self._resulted(data)

    def _configured(self, config: Object) -> Iterator[Heard]:
        if self.config is not None:
            yield Wrong("config-first", "config came twice, or too late")
        self.config = config
        if config.get("call_details"):
            yield Returned((written(interaction_type="call_details", call=self._details()),))

    def _details(self) -> Object:
        return {
            "call_id": self.call,
            "agent_id": "agent_rehearsal",
            "call_type": "phone_call",
            "call_status": "ongoing",
            "direction": "inbound",
            "from_number": self.script.caller,
            "to_number": self.script.called,
            "metadata": {},
            "retell_llm_dynamic_variables": {},
        }

    def _ponged(self, timestamp: int) -> Iterator[Heard]:
        wanted = self.pinged.popleft() if self.pinged else timestamp
        if timestamp != wanted:
            yield Wrong("echo", f"timestamp {timestamp}, not {wanted}")
        yield Ponged()

    def _response(self, id: int, data: Object) -> Iterator[Heard]:
        content = data["content"]
        if id == 0 and self.back:
            if content:
                why = f"{len(content)} characters for response_id 0 on a new connection"
                yield Wrong("no-second-greeting", why)
        elif id in self.complete or id not in self.turns:
            yield self._excess(id)
        elif id == self.newest or id == 0:  # a begin message may cross the first words
            yield from self._answer(id, content, data["content_complete"])
            yield from self._action(id, data)
        elif self.turns[id] != self.turn:
            yield Words(self.turns[id], content)

    def _excess(self, id: int) -> Wrong:
        if self.updated and self.newest in self.complete:
            return Wrong("updates", f"a response with response_id {id} came after update_only")
        if id in self.complete:
            return Wrong("one-complete", f"response_id {id} goes on after its content_complete")
        return Wrong("old-ids", f"response_id {id} was never asked for, the newest is {self.newest}")

    def _answer(self, id: int, content: str, complete: bool) -> Iterator[Heard]:
        if not self.stopped:
            if id == self.newest:
                self.talk.answered(content)
            yield Words(self.turns[id], content)
        if content.strip():
            self.spoken.add(id)
        if complete:
            self.complete.add(id)
            yield Done(self.turns[id])

    def _action(self, id: int, data: Object) -> Iterator[Heard]:
        """What is to be done once the words are spoken."""
        wanted = [name for name in ACTIONS if data.get(name) not in (None, False, "")]
        if not wanted:
            return
        if not data["content_complete"]:
            yield Wrong("actions", f"{wanted[0]} before content_complete")
        if len(wanted) > 1:
            yield Wrong("actions", f"{' and '.join(wanted)} at once")
        leaves = wanted[0] != "digit_to_press"
        if leaves and id in self.spoken and data.get("no_interruption_allowed") is not True:
            yield Wrong("actions", f"{wanted[0]} without no_interruption_allowed, after words")
        yield Acted(self.turn, wanted[0], json.dumps({wanted[0]: data[wanted[0]]}))
        if leaves and data["content_complete"] and not self.stopped:
            yield HungUp()

    def _invoked(self, data: Object) -> Iterator[Heard]:
        self.tools[data["tool_call_id"]] = data["name"]
        yield Acted(self.turn, data["name"], data["arguments"], data["tool_call_id"])

    def _resulted(self, data: Object) -> Iterator[Heard]:
        if data["tool_call_id"] not in self.tools:
            yield Wrong("types", f"tool_call_result of no tool call: {shown(data['tool_call_id'])}")

    def _request(self) -> Sequence[Frame]:
        """The next request, about the transcript as it is."""
        self.newest += 1
        self.turns[self.newest] = self.turn
        self.talk.closed()
        self.stopped = self.updated = False
        told = self._told(self.talk.entries)
        return (written(interaction_type=self.asking, response_id=self.newest, **told),)

    def _update(self, entries: Sequence[Entry]) -> Frame:
        self.updated = True
        return written(interaction_type="update_only", turntaking="user_turn", **self._told(entries))

    def _told(self, entries: Sequence[Entry]) -> Object:
        """The transcript, and the one with tool calls if the gateway asked for that."""
        both = (self.config or {}).get("transcript_with_tool_calls")
        return {"transcript": entries, **({"transcript_with_tool_calls": entries} if both else {})}
