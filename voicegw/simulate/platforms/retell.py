"""The caller of Retell's custom LLM websocket. Pure."""

from __future__ import annotations

import json
import secrets
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from voicegw.simulate.checks import Check
from voicegw.simulate.platform import NO_DTMF, Frame, PlatformTraits, decode_frame, abbreviate, encode_frame
from voicegw.simulate.platforms.retell_checks import ACTIONS, CHECKS, find_frame_flaw
from voicegw.simulate.recording import ActionSeen, AnswerEnded, Observation, HangUpSeen, PongSeen, FramesReturned, TextHeard, Violation
from voicegw.simulate.script import CallScript
from voicegw.simulate.transcript import TranscriptEntry, PlatformTranscript

JsonObject: TypeAlias = dict[str, Any]
MALFORMED_FRAMES: tuple[Frame, ...] = (
    '{"interaction_type":"weather","rain":true}',
    '{"interaction_type":"update_only","transcript":[{"role":"moon","content":null},7],"turntaking":"nobody"}',
    '{"interaction_type":null}',
    "[]",
    "{",
)


class SimulatedRetell:
    """One call of Retell's.

    The secret of such a call, if there is one, is part of the address that the operator enters. `now` is the
    time of day in seconds since 1970; `hex` gives random hexadecimal digits for so many bytes.
    """

    name = "retell"
    ping_interval: float | None = 2.0
    traits = PlatformTraits(NO_DTMF, stops_playback=True, repeats_as_new_request=True)
    checks: Sequence[Check] = CHECKS

    def __init__(
        self,
        script: CallScript,
        secret: str = "",
        *,
        now: float = 0.0,
        random_hex: Callable[[int], str] = secrets.token_hex,
    ) -> None:
        self.script = script
        self.call_id = f"call_{random_hex(14)}"
        self.started_ms = int(now * 1000)
        self.config: JsonObject | None = None  # that of the present socket
        self.transcript = PlatformTranscript()
        self.newest_id = 0  # the number of the newest request
        self.turn: int | None = None  # and of the question that it asks
        self.turn_by_id: dict[int, int | None] = {0: None}
        self.completed_ids: set[int] = set()
        self.ids_with_text: set[int] = set()  # the answers with words
        self.request_kind = "response_required"
        self.is_interrupted = False  # was the newest answer interrupted?
        self.has_sent_update = False  # did an update come since it was complete?
        self.is_reconnected = False  # did the call come back?
        self.sent_timestamps: deque[int] = deque()
        self.ping_count = 0
        self.tool_names: dict[str, str] = {}

    def build_url(self, url: str) -> str:
        """The call's own address below the one that was entered."""
        base, mark, query = url.partition("?")
        scheme, sep, rest = base.partition("://")
        scheme = {"https": "wss", "http": "ws"}.get(scheme.lower(), scheme)
        return f"{scheme}{sep}{rest.rstrip('/')}/{self.call_id}{mark}{query}"

    def build_headers(self, url: str, *, forged: bool = False) -> Mapping[str, str]:
        """None: Retell proves nothing."""
        return {}

    def start(self, *, reconnecting: bool) -> Sequence[Frame]:
        """Nothing; a call that comes back asks again what was not answered."""
        self.config, self.is_reconnected = None, reconnecting
        self.sent_timestamps.clear()
        if not reconnecting or self.turn is None or self.newest_id in self.completed_ids:
            return ()
        return self.repeat()

    def encode_partial(self, text: str) -> Sequence[Frame]:
        """An update with words that may still change."""
        return (self._update(self.transcript.with_partial(text)),)

    def ask(self, text: str | None) -> Sequence[Frame]:
        if text is not None:
            self.transcript.add_user(text)
        self.request_kind = "reminder_required" if text is None else "response_required"
        self.turn = 0 if self.turn is None else self.turn + 1
        return self._request()

    def press(self, digits: str) -> Sequence[Frame]:
        return ()

    def repeat(self) -> Sequence[Frame]:
        """The same request under a new number; what was said in answer to the old one is forgotten."""
        self.transcript.truncate_reply("")
        return self._request()

    def interrupt(self, heard_text: str) -> Sequence[Frame]:
        """An update: of the answer the transcript keeps what was heard. Its further words are not spoken."""
        self.is_interrupted = True
        self.transcript.truncate_reply(heard_text)
        return (self._update(self.transcript.entries),)

    def encode_malformed(self) -> Sequence[Frame]:
        return MALFORMED_FRAMES

    def ping(self) -> Sequence[Frame]:
        """A ping with a time of its own, if the gateway asked for that."""
        if not (self.config or {}).get("auto_reconnect"):
            return ()
        self.ping_count += 1
        self.sent_timestamps.append(self.started_ms + self.ping_count)
        return (encode_frame(interaction_type="ping_pong", timestamp=self.sent_timestamps[-1]),)

    def hang_up(self) -> Sequence[Frame]:
        return ()

    def receive(self, frame: Frame) -> Sequence[Observation]:
        """What a frame of the gateway's means. Never raises."""
        data = decode_frame(frame)
        if isinstance(data, str):
            return (Violation("types", data),)
        kind = data.get("response_type", "response")
        if (why := find_frame_flaw(data, kind)) is not None:
            return (Violation("types", why),)
        early = self.config is None and kind != "config"
        self.config = {} if early else self.config
        wrong = (Violation("config-first", f"{kind} came before config"),) if early else ()
        return (*wrong, *self._heard(kind, data))

    def _heard(self, kind: str, data: JsonObject) -> Iterator[Observation]:
        match kind:
            case "response":
                yield from self._response(data["response_id"], data)
            case "config":
                yield from self._configured(data["config"])
            case "ping_pong":
                yield from self._ponged(data["timestamp"])
            case "agent_interrupt":
                yield TextHeard(self.turn, data["content"])
            case "tool_call_invocation":
                yield from self._invoked(data)
            case "tool_call_result":
                yield from self._resulted(data)

    def _configured(self, config: JsonObject) -> Iterator[Observation]:
        if self.config is not None:
            yield Violation("config-first", "config came twice, or too late")
        self.config = config
        if config.get("call_details"):
            yield FramesReturned((encode_frame(interaction_type="call_details", call=self._details()),))

    def _details(self) -> JsonObject:
        return {
            "call_id": self.call_id,
            "agent_id": "agent_rehearsal",
            "call_type": "phone_call",
            "call_status": "ongoing",
            "direction": "inbound",
            "from_number": self.script.caller,
            "to_number": self.script.called,
            "metadata": {},
            "retell_llm_dynamic_variables": {},
        }

    def _ponged(self, timestamp: int) -> Iterator[Observation]:
        wanted = self.sent_timestamps.popleft() if self.sent_timestamps else timestamp
        if timestamp != wanted:
            yield Violation("echo", f"timestamp {timestamp}, not {wanted}")
        yield PongSeen()

    def _response(self, id: int, data: JsonObject) -> Iterator[Observation]:
        content = data["content"]
        if id == 0 and self.is_reconnected:
            if content:
                why = f"{len(content)} characters for response_id 0 on a new connection"
                yield Violation("no-second-greeting", why)
        elif id in self.completed_ids or id not in self.turn_by_id:
            yield self._excess(id)
        elif id == self.newest_id or id == 0:  # a begin message may cross the first words
            yield from self._answer(id, content, data["content_complete"])
            yield from self._action(id, data)
        elif self.turn_by_id[id] != self.turn:
            yield TextHeard(self.turn_by_id[id], content)

    def _excess(self, id: int) -> Violation:
        if self.has_sent_update and self.newest_id in self.completed_ids:
            return Violation("updates", f"a response with response_id {id} came after update_only")
        if id in self.completed_ids:
            return Violation("one-complete", f"response_id {id} goes on after its content_complete")
        return Violation("old-ids", f"response_id {id} was never asked for, the newest is {self.newest_id}")

    def _answer(self, id: int, content: str, complete: bool) -> Iterator[Observation]:
        if not self.is_interrupted:
            if id == self.newest_id:
                self.transcript.append_reply(content)
            yield TextHeard(self.turn_by_id[id], content)
        if content.strip():
            self.ids_with_text.add(id)
        if complete:
            self.completed_ids.add(id)
            yield AnswerEnded(self.turn_by_id[id])

    def _action(self, id: int, data: JsonObject) -> Iterator[Observation]:
        """What is to be done once the words are spoken."""
        wanted = [name for name in ACTIONS if data.get(name) not in (None, False, "")]
        if not wanted:
            return
        if not data["content_complete"]:
            yield Violation("actions", f"{wanted[0]} before content_complete")
        if len(wanted) > 1:
            yield Violation("actions", f"{' and '.join(wanted)} at once")
        leaves = wanted[0] != "digit_to_press"
        if leaves and id in self.ids_with_text and data.get("no_interruption_allowed") is not True:
            yield Violation("actions", f"{wanted[0]} without no_interruption_allowed, after words")
        yield ActionSeen(self.turn, wanted[0], json.dumps({wanted[0]: data[wanted[0]]}))
        if leaves and data["content_complete"] and not self.is_interrupted:
            yield HangUpSeen()

    def _invoked(self, data: JsonObject) -> Iterator[Observation]:
        self.tool_names[data["tool_call_id"]] = data["name"]
        yield ActionSeen(self.turn, data["name"], data["arguments"], data["tool_call_id"])

    def _resulted(self, data: JsonObject) -> Iterator[Observation]:
        if data["tool_call_id"] not in self.tool_names:
            yield Violation("types", f"tool_call_result of no tool call: {abbreviate(data['tool_call_id'])}")

    def _request(self) -> Sequence[Frame]:
        """The next request, about the transcript as it is."""
        self.newest_id += 1
        self.turn_by_id[self.newest_id] = self.turn
        self.transcript.end_reply()
        self.is_interrupted = self.has_sent_update = False
        told = self._told(self.transcript.entries)
        return (encode_frame(interaction_type=self.request_kind, response_id=self.newest_id, **told),)

    def _update(self, entries: Sequence[TranscriptEntry]) -> Frame:
        self.has_sent_update = True
        return encode_frame(interaction_type="update_only", turntaking="user_turn", **self._told(entries))

    def _told(self, entries: Sequence[TranscriptEntry]) -> JsonObject:
        """The transcript, and the one with tool calls if the gateway asked for that."""
        both = (self.config or {}).get("transcript_with_tool_calls")
        return {"transcript": entries, **({"transcript_with_tool_calls": entries} if both else {})}
