"""ElevenLabs' Speech Engine: the platform's side of a call. Pure.

The gateway's side is `voicegw.platforms.elevenlabs`; only the constants of its token are used here.
"""

from __future__ import annotations

import hmac
import json
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256

from voicegw.platforms.elevenlabs.token import ISSUER, RESIDENCY_SUFFIX, SUBJECT
from voicegw.simulate.checks import Check
from voicegw.simulate.frame_schema import find_mismatch
from voicegw.simulate.platform import (
    NO_DTMF,
    Frame,
    PlatformTraits,
    WebSocketEntry,
    abbreviate,
    decode_frame,
    encode_frame,
)
from voicegw.simulate.platforms.speech_engine_checks import CHECKS, FRAME_TYPES
from voicegw.simulate.recording import AnswerEnded, Observation, PongSeen, TextHeard, Violation
from voicegw.simulate.script import CallScript
from voicegw.simulate.transcript import PlatformTranscript

PING_INTERVAL = 2.0
"""Seconds between pings. ElevenLabs does not document its own interval: this is our choice."""
TOKEN_LIFETIME = 3600
"""Seconds for which a token is valid: longer than a simulation takes."""
MIN_REPEATED_CHARS = 8
"""Characters of a text that does not occur twice by chance."""
TOKEN_HEADER = "X-Elevenlabs-Speech-Engine-Authorization"
MALFORMED_FRAMES: tuple[Frame, ...] = (
    '{"type":"weather","rain":true}',
    '{"type":"error","message":"This is a simulation."}',
    '{"type":null}',
    "[]",
    "{",
)


class SimulatedSpeechEngine:
    """Plays one conversation of ElevenLabs' Speech Engine.

    `secret` is the account's API key, which signs a token for each handshake. `now` is the time of day in
    seconds since 1970; `random_hex` returns random hexadecimal digits for a number of bytes. The transcript
    of turn 0 has the event_id 1, and so on.
    """

    name = "speech-engine"
    ping_interval: float | None = PING_INTERVAL
    traits = PlatformTraits(NO_DTMF, stops_playback=True)
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
        self.secret = secret
        self.now = int(now)
        self.conversation_id = f"conv_{random_hex(13)}"  # in the init frame
        self.transcript = PlatformTranscript()
        self.transcript.append_reply(script.greeting)
        self.newest_id = 0  # the event_id of the newest transcript
        self.question_frames: Sequence[Frame] = ()
        self.final_ids: set[int] = set()  # of the answers that have ended
        self.is_interrupted = False  # was the newest answer interrupted?
        self.answer_text = ""  # the answer to the newest transcript, so far
        self.text_before_repeat: str | None = None  # the part of it before the transcript was repeated

    def build_url(self, url: str) -> str:
        """Return the `ws_url` as it was entered."""
        return url

    def build_headers(self, url: str, *, forged: bool = False) -> Mapping[str, str]:
        """Return a token; with `forged`, one that another key signed."""
        if not (self.secret or forged):
            return {}
        key = self.secret + " forged" if forged else self.secret
        return {TOKEN_HEADER: f"Bearer {issue_token(key, self.now)}"}

    def start(self, *, reconnecting: bool, resend: bool = True) -> Sequence[Frame]:
        """Return the init frame. A conversation that reconnects repeats an unanswered transcript."""
        is_unanswered = reconnecting and self.newest_id not in self.final_ids
        init = encode_frame(type="init", conversation_id=self.conversation_id)
        return (init, *(self.question_frames if is_unanswered else ()))

    def encode_partial(self, text: str) -> Sequence[Frame]:
        return ()

    def ask(self, text: str | None) -> Sequence[Frame]:
        """Return the whole conversation with the next event_id; a silent caller adds no entry."""
        self.transcript.end_reply()
        if text is not None:
            self.transcript.add_user(text)
        self.newest_id += 1
        self.is_interrupted, self.answer_text, self.text_before_repeat = False, "", None
        entries = self.transcript.entries
        self.question_frames = (
            encode_frame(type="user_transcript", user_transcript=entries, event_id=self.newest_id),
        )
        return self.question_frames

    def press(self, digits: str) -> Sequence[Frame]:
        return ()

    def repeat(self) -> Sequence[Frame]:
        """Return the same transcript with the same event_id."""
        self.text_before_repeat = self.answer_text.strip()
        return self.question_frames

    def interrupt(self, heard_text: str, *, older: bool = False) -> Sequence[Frame]:
        """Return no frames: ElevenLabs stops playing, and the next transcript has the heard part."""
        self.is_interrupted = True
        self.transcript.truncate_reply(heard_text)
        return ()

    def encode_malformed(self) -> Sequence[Frame]:
        return MALFORMED_FRAMES

    def ping(self) -> Sequence[Frame]:
        return ('{"type":"ping"}',)

    def hang_up(self) -> Sequence[Frame]:
        return ('{"type":"close"}',)

    def receive(self, frame: Frame) -> Sequence[Observation]:
        """Return the observations in a frame from the gateway. It never raises."""
        data = decode_frame(frame)
        flaw = data if isinstance(data, str) else find_mismatch(data, data.get("type"), FRAME_TYPES)
        if isinstance(data, str) or flaw is not None:
            return (Violation("frames", str(flaw)),)
        if data["type"] == "pong":
            return (PongSeen(),)
        return tuple(self._receive_response(data["event_id"], data["content"], data["is_final"]))

    def _receive_response(self, id: int, content: str, final: bool) -> Iterator[Observation]:
        if not self.newest_id:
            reason = f"agent_response with {len(content)} characters before the first user_transcript"
            yield Violation("speaks-when-asked", reason)
        elif not 1 <= id <= self.newest_id:
            yield Violation("frames", f"event_id {id} is no transcript's, the newest is {self.newest_id}")
        elif id in self.final_ids:
            yield self._report_excess(id, final)
        elif id == self.newest_id:
            yield from self._receive_answer(content, final)
        else:
            yield from self._receive_late_answer(id, content, final)

    def _report_excess(self, id: int, final: bool) -> Violation:
        message = "a second final message" if final else "a message after the final one"
        is_repeated = id == self.newest_id and self.text_before_repeat is not None
        return Violation("not-twice" if is_repeated else "one-final", f"{message} with event_id {id}")

    def _receive_answer(self, content: str, final: bool) -> Iterator[Observation]:
        if content:
            self.answer_text += content
            yield from self._find_repeated_text()
        if content and not self.is_interrupted:  # the text of an interrupted answer is not played
            self.transcript.append_reply(content)
            yield TextHeard(self.newest_id - 1, content)
        if final:
            self.final_ids.add(self.newest_id)
            if content:
                yield Violation("one-final", f"a final message with {len(content)} characters of content")
            yield AnswerEnded(self.newest_id - 1)

    def _receive_late_answer(self, id: int, content: str, final: bool) -> Iterator[Observation]:
        """Read a message in answer to a transcript that a newer one superseded."""
        if final:
            reason = f"a final message with event_id {id}, when {self.newest_id} was the newest"
            yield Violation("no-final-superseded", reason)
        if content:
            yield TextHeard(id - 1, content)

    def _find_repeated_text(self) -> Iterator[Observation]:
        """Report, once, if the text from before the repeated transcript comes again."""
        before = self.text_before_repeat or ""
        if len(before) >= MIN_REPEATED_CHARS and self.answer_text.count(before) > 1:
            self.text_before_repeat = ""
            yield Violation("not-twice", f"event_id {self.newest_id}: {abbreviate(before)} came twice")


def issue_token(api_key: str, now: int) -> str:
    """Return ElevenLabs' token of a handshake: a JWT that the SHA-256 digest of the API key signs."""
    claims = {"iss": ISSUER, "sub": SUBJECT, "iat": now, "exp": now + TOKEN_LIFETIME}
    text = f"{_encode_json({'alg': 'HS256', 'typ': 'JWT'})}.{_encode_json(claims)}"
    key = sha256(RESIDENCY_SUFFIX.sub("", api_key.strip()).encode("utf-8", "surrogatepass")).digest()
    return f"{text}.{_encode_base64(hmac.digest(key, text.encode(), 'sha256'))}"


def _encode_json(fields: Mapping[str, object]) -> str:
    return _encode_base64(json.dumps(fields, separators=(",", ":")).encode())


def _encode_base64(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


SPEECH_ENGINE = WebSocketEntry(
    name="speech-engine",
    make=lambda script, setup, now: SimulatedSpeechEngine(script, setup.secret, now=now),
)
