"""Retell's custom LLM websocket: the platform's side of a call. Pure.

The gateway's side is `voicegw.platforms.retell`, which this module does not use.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from voicegw.simulate.checks import Check
from voicegw.simulate.platform import (
    NO_DTMF,
    Frame,
    PlatformTraits,
    WebSocketEntry,
    abbreviate,
    decode_frame,
    encode_frame,
)
from voicegw.simulate.platforms.retell_checks import ACTIONS, CHECKS, find_action_flaws, find_frame_flaw
from voicegw.simulate.platforms.retell_pings import RetellPings
from voicegw.simulate.recording import (
    ActionSeen,
    AnswerEnded,
    FramesReturned,
    HangUpSeen,
    Observation,
    TextHeard,
    Violation,
)
from voicegw.simulate.script import CallScript
from voicegw.simulate.transcript import PlatformTranscript, TranscriptEntry

JsonObject: TypeAlias = dict[str, Any]
MALFORMED_FRAMES: tuple[Frame, ...] = (
    '{"interaction_type":"weather","rain":true}',
    '{"interaction_type":"update_only","transcript":[{"role":"moon","content":null},7],"turntaking":"nobody"}',
    '{"interaction_type":null}',
    "[]",
    "{",
)


class SimulatedRetell:
    """Plays one call of Retell.

    The secret of a call, if there is one, is a part of the URL that the operator enters. `now` is the time of
    day in seconds since 1970; `random_hex` returns random hexadecimal digits for a number of bytes.
    """

    name = "retell"
    ping_interval: float | None = 2.0
    traits = PlatformTraits(NO_DTMF, stops_playback=True, repeats_as_new_request=True)
    may_reply_twice = False
    checks: Sequence[Check] = CHECKS

    def __init__(
        self,
        script: CallScript,
        secret: str = "",
        *,
        now: float = 0.0,
        random_hex: Callable[[int], str] = secrets.token_hex,
    ) -> None:
        self.script = script  # the caller's turns
        self.call_id = f"call_{random_hex(14)}"  # the last segment of the URL
        self.config: JsonObject | None = None  # the config frame on the current socket
        self.transcript = PlatformTranscript()
        self.newest_id = 0  # the response_id of the newest request
        self.turn: int | None = None  # the turn of that request
        self.turn_by_id: dict[int, int | None] = {0: None}  # the turn of each response_id
        self.completed_ids: set[int] = set()  # response_ids whose answer has ended
        self.ids_with_text: set[int] = set()  # response_ids whose answer has text
        self.request_kind = "response_required"  # the interaction_type of the newest request
        self.is_interrupted = False  # was the newest answer interrupted?
        self.has_sent_update = False  # since the newest request?
        self.is_reconnected = False  # does the current socket replace a lost one?
        self.pings = RetellPings(int(now * 1000))
        self.tool_names: dict[str, str] = {}  # by the id of the tool call

    def build_url(self, url: str) -> str:
        """Return the URL of this call, below the one that was entered."""
        base, mark, query = url.partition("?")
        scheme, sep, rest = base.partition("://")
        scheme = {"https": "wss", "http": "ws"}.get(scheme.lower(), scheme)
        return f"{scheme}{sep}{rest.rstrip('/')}/{self.call_id}{mark}{query}"

    def build_headers(self, url: str, *, forged: bool = False) -> Mapping[str, str]:
        """Return no headers: Retell sends no proof."""
        return {}

    def start(self, *, reconnecting: bool, resend: bool = True) -> Sequence[Frame]:
        """Return no frames, or, after a lost connection, the request that was not answered, with `resend`."""
        self.config, self.is_reconnected = None, reconnecting
        self.pings.reset_connection()
        is_over = self.turn is None or self.newest_id in self.completed_ids
        if not (reconnecting and resend) or is_over:
            return ()
        return self.repeat()

    def encode_partial(self, text: str) -> Sequence[Frame]:
        """Return an update with a partial utterance."""
        return (self._encode_update(self.transcript.with_partial(text)),)

    def ask(self, text: str | None) -> Sequence[Frame]:
        """Return a request; a silent caller makes it a reminder."""
        if text is not None:
            self.transcript.add_user(text)
        self.request_kind = "reminder_required" if text is None else "response_required"
        self.turn = 0 if self.turn is None else self.turn + 1
        return self._encode_request()

    def press(self, digits: str) -> Sequence[Frame]:
        return ()

    def repeat(self) -> Sequence[Frame]:
        """Return the same request with a new id; the transcript drops the answer to the old one."""
        self.transcript.truncate_reply("")
        return self._encode_request()

    def interrupt(self, heard_text: str, *, older: bool = False) -> Sequence[Frame]:
        """Return an update whose transcript has the heard part of the answer. Later text is not spoken."""
        if older:
            return ()
        self.is_interrupted = True
        self.transcript.truncate_reply(heard_text)
        return (self._encode_update(self.transcript.entries),)

    def encode_malformed(self) -> Sequence[Frame]:
        return MALFORMED_FRAMES

    def ping(self) -> Sequence[Frame]:
        """Return a ping with a new timestamp, if the gateway's config asked for pings."""
        return (self.pings.send(),) if (self.config or {}).get("auto_reconnect") else ()

    def hang_up(self) -> Sequence[Frame]:
        return ()

    def receive(self, frame: Frame) -> Sequence[Observation]:
        """Return the observations in a frame from the gateway. It never raises."""
        data = decode_frame(frame)
        if isinstance(data, str):
            return (Violation("types", data),)
        frame_type = data.get("response_type", "response")
        if (flaw := find_frame_flaw(data, frame_type)) is not None:
            return (Violation("types", flaw),)
        is_early = self.config is None and frame_type != "config"
        self.config = {} if is_early else self.config
        violations = (Violation("config-first", f"{frame_type} came before config"),) if is_early else ()
        return (*violations, *self._receive(frame_type, data))

    def _receive(self, frame_type: str, data: JsonObject) -> Iterator[Observation]:
        match frame_type:
            case "response":
                yield from self._receive_response(data["response_id"], data)
            case "config":
                yield from self._receive_config(data["config"])
            case "ping_pong":
                yield from self.pings.receive_pong(data["timestamp"])
            case "agent_interrupt":
                yield TextHeard(self.turn, data["content"])
            case "tool_call_invocation":
                yield from self._receive_invocation(data)
            case "tool_call_result":
                yield from self._receive_result(data)

    def _receive_config(self, config: JsonObject) -> Iterator[Observation]:
        if self.config is not None:
            yield Violation("config-first", "config came twice, or too late")
        self.config = config
        if config.get("call_details"):
            details = encode_frame(interaction_type="call_details", call=self._call_details())
            yield FramesReturned((details,))

    def _call_details(self) -> JsonObject:
        return {
            "call_id": self.call_id,
            "agent_id": "agent_simulation",
            "call_type": "phone_call",
            "call_status": "ongoing",
            "direction": "inbound",
            "from_number": self.script.caller,
            "to_number": self.script.called,
            "metadata": {},
            "retell_llm_dynamic_variables": {},
        }

    def _receive_response(self, id: int, data: JsonObject) -> Iterator[Observation]:
        content = data["content"]
        if id == 0 and self.is_reconnected:
            if content:
                reason = f"{len(content)} characters for response_id 0 on a new connection"
                yield Violation("no-second-greeting", reason)
        elif id in self.completed_ids or id not in self.turn_by_id:
            yield self._report_excess(id)
        elif id == self.newest_id or id == 0:  # a begin message may cross the caller's first words
            yield from self._receive_answer(id, content, data["content_complete"])
            yield from self._receive_action(id, data)
        elif self.turn_by_id[id] != self.turn:
            yield TextHeard(self.turn_by_id[id], content)

    def _report_excess(self, id: int) -> Violation:
        if self.has_sent_update and self.newest_id in self.completed_ids:
            return Violation("updates", f"a response with response_id {id} came after update_only")
        if id in self.completed_ids:
            return Violation("one-complete", f"response_id {id} goes on after its content_complete")
        newest = f"the newest is {self.newest_id}"
        return Violation("old-ids", f"response_id {id} was never asked for, {newest}")

    def _receive_answer(self, id: int, content: str, complete: bool) -> Iterator[Observation]:
        if not self.is_interrupted:
            if id == self.newest_id:
                self.transcript.append_reply(content)
            yield TextHeard(self.turn_by_id[id], content)
        if content.strip():
            self.ids_with_text.add(id)
        if complete:
            self.completed_ids.add(id)
            yield AnswerEnded(self.turn_by_id[id])

    def _receive_action(self, id: int, data: JsonObject) -> Iterator[Observation]:
        """Read the action that the platform takes after the text is spoken."""
        actions = [name for name in ACTIONS if data.get(name) not in (None, False, "")]
        if not actions:
            return
        for flaw in find_action_flaws(data, actions, has_words=id in self.ids_with_text):
            yield Violation("actions", flaw)
        action, ends_call = actions[0], actions[0] != "digit_to_press"
        yield ActionSeen(self.turn, action, json.dumps({action: data[action]}))
        if ends_call and data["content_complete"] and not self.is_interrupted:
            yield HangUpSeen()

    def _receive_invocation(self, data: JsonObject) -> Iterator[Observation]:
        self.tool_names[data["tool_call_id"]] = data["name"]
        yield ActionSeen(self.turn, data["name"], data["arguments"], data["tool_call_id"])

    def _receive_result(self, data: JsonObject) -> Iterator[Observation]:
        if data["tool_call_id"] not in self.tool_names:
            yield Violation("types", f"tool_call_result of no tool call: {abbreviate(data['tool_call_id'])}")

    def _encode_request(self) -> Sequence[Frame]:
        """Return the next request, with the transcript as it is."""
        self.newest_id += 1
        self.turn_by_id[self.newest_id] = self.turn
        self.transcript.end_reply()
        self.is_interrupted = self.has_sent_update = False
        transcripts = self._encode_transcripts(self.transcript.entries)
        return (encode_frame(interaction_type=self.request_kind, response_id=self.newest_id, **transcripts),)

    def _encode_update(self, entries: Sequence[TranscriptEntry]) -> Frame:
        self.has_sent_update = True
        transcripts = self._encode_transcripts(entries)
        return encode_frame(interaction_type="update_only", turntaking="user_turn", **transcripts)

    def _encode_transcripts(self, entries: Sequence[TranscriptEntry]) -> JsonObject:
        """Return the transcript, and the one with tool calls if the gateway's config asked for it."""
        wants_both = (self.config or {}).get("transcript_with_tool_calls")
        return {"transcript": entries, **({"transcript_with_tool_calls": entries} if wants_both else {})}


RETELL = WebSocketEntry(
    name="retell",
    secret_in_url=True,
    public_path_words=frozenset({"retell", "llm-websocket"}),
    make=lambda script, setup, now: SimulatedRetell(script, setup.secret, now=now),
)
