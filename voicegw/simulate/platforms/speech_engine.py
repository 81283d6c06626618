"""The caller of ElevenLabs' Speech Engine. Pure."""

from __future__ import annotations

import hmac
import json
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256

from voicegw.platforms.elevenlabs.token import ISSUER, REGION, SUBJECT
from voicegw.simulate.checks import Check
from voicegw.simulate.frame_schema import find_mismatch
from voicegw.simulate.platform import NO_DTMF, Frame, PlatformTraits, decode_frame, abbreviate, encode_frame
from voicegw.simulate.platforms.speech_engine_checks import CHECKS, FRAME_TYPES
from voicegw.simulate.recording import AnswerEnded, Observation, PongSeen, TextHeard, Violation
from voicegw.simulate.script import CallScript
from voicegw.simulate.transcript import PlatformTranscript

PING_INTERVAL = 2.0
"""Seconds between pings. ElevenLabs does not tell how often it sends them: this is our choice."""
TOKEN_LIFETIME = 3600
"""Seconds for which a token is good: longer than a rehearsal takes."""
MIN_REPEATED_CHARS = 8
"""Characters of words that do not come twice by chance."""
TOKEN_HEADER = "X-Elevenlabs-Speech-Engine-Authorization"
MALFORMED_FRAMES: tuple[Frame, ...] = (
    '{"type":"weather","rain":true}',
    '{"type":"error","message":"This is a rehearsal."}',
    '{"type":null}',
    "[]",
    "{",
)


class SimulatedSpeechEngine:
    """One conversation of ElevenLabs'.

    `secret` is the account's API key, which signs a token for each handshake. `now` is the time of day in
    seconds since 1970; `hex` gives random hexadecimal digits for so many bytes. The transcript that asks
    question 0 has number 1, and so on.
    """

    name = "speech-engine"
    ping_interval: float | None = PING_INTERVAL
    traits = PlatformTraits(NO_DTMF, stops_playback=True)
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
        self.conversation_id = f"conv_{random_hex(13)}"
        self.transcript = PlatformTranscript()
        self.transcript.append_reply(script.greeting)
        self.newest_id = 0
        self.question_frames: Sequence[Frame] = ()
        self.final_ids: set[int] = set()  # the answers that ended
        self.is_interrupted = False  # was the newest answer interrupted?
        self.answer_text = ""  # in answer to the newest transcript
        self.text_before_repeat: str | None = None  # what of it was said before it was repeated

    def build_url(self, url: str) -> str:
        """The `ws_url`, as it was entered."""
        return url

    def build_headers(self, url: str, *, forged: bool = False) -> Mapping[str, str]:
        """A token; where `forged`, one that another key signed."""
        if not (self.secret or forged):
            return {}
        return {TOKEN_HEADER: f"Bearer {issue_token(self.secret + ' forged' if forged else self.secret, self.now)}"}

    def start(self, *, reconnecting: bool) -> Sequence[Frame]:
        """The beginning; a conversation that comes back asks again what was not answered."""
        unanswered = reconnecting and self.newest_id not in self.final_ids
        begin = encode_frame(type="init", conversation_id=self.conversation_id)
        return (begin, *(self.question_frames if unanswered else ()))

    def encode_partial(self, text: str) -> Sequence[Frame]:
        return ()

    def ask(self, text: str | None) -> Sequence[Frame]:
        """The whole conversation under the next number; if nothing was said, without anything new."""
        self.transcript.end_reply()
        if text is not None:
            self.transcript.add_user(text)
        self.newest_id += 1
        self.is_interrupted, self.answer_text, self.text_before_repeat = False, "", None
        entries = self.transcript.entries
        self.question_frames = (encode_frame(type="user_transcript", user_transcript=entries, event_id=self.newest_id),)
        return self.question_frames

    def press(self, digits: str) -> Sequence[Frame]:
        return ()

    def repeat(self) -> Sequence[Frame]:
        self.text_before_repeat = self.answer_text.strip()
        return self.question_frames

    def interrupt(self, heard_text: str) -> Sequence[Frame]:
        """Nothing: ElevenLabs stops playing, and the next transcript tells what was heard."""
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
        """What a frame of the gateway's means. Never raises."""
        data = decode_frame(frame)
        why = data if isinstance(data, str) else find_mismatch(data, data.get("type"), FRAME_TYPES)
        if isinstance(data, str) or why is not None:
            return (Violation("frames", str(why)),)
        if data["type"] == "pong":
            return (PongSeen(),)
        return tuple(self._response(data["event_id"], data["content"], data["is_final"]))

    def _response(self, id: int, content: str, final: bool) -> Iterator[Observation]:
        if not self.newest_id:
            why = f"agent_response with {len(content)} characters before the first user_transcript"
            yield Violation("speaks-when-asked", why)
        elif not 1 <= id <= self.newest_id:
            yield Violation("frames", f"event_id {id} is no transcript's, the newest is {self.newest_id}")
        elif id in self.final_ids:
            yield self._excess(id, final)
        elif id == self.newest_id:
            yield from self._answer(content, final)
        else:
            yield from self._late(id, content, final)

    def _excess(self, id: int, final: bool) -> Violation:
        what = "a second final message" if final else "a message after the final one"
        repeated = id == self.newest_id and self.text_before_repeat is not None
        return Violation("not-twice" if repeated else "one-final", f"{what} with event_id {id}")

    def _answer(self, content: str, final: bool) -> Iterator[Observation]:
        if content:
            self.answer_text += content
            yield from self._again()
        if content and not self.is_interrupted:  # else it is not played
            self.transcript.append_reply(content)
            yield TextHeard(self.newest_id - 1, content)
        if final:
            self.final_ids.add(self.newest_id)
            if content:
                yield Violation("one-final", f"a final message with {len(content)} characters of content")
            yield AnswerEnded(self.newest_id - 1)

    def _late(self, id: int, content: str, final: bool) -> Iterator[Observation]:
        """A message in answer to a transcript that was superseded."""
        if final:
            why = f"a final message with event_id {id}, when {self.newest_id} was the newest"
            yield Violation("no-final-superseded", why)
        if content:
            yield TextHeard(id - 1, content)

    def _again(self) -> Iterator[Observation]:
        """Did what was said before the transcript was repeated come once more?"""
        before = self.text_before_repeat or ""
        if len(before) >= MIN_REPEATED_CHARS and self.answer_text.count(before) > 1:
            self.text_before_repeat = ""
            yield Violation("not-twice", f"event_id {self.newest_id}: {abbreviate(before)} came twice")


def issue_token(api_key: str, now: int) -> str:
    """What ElevenLabs shows at the handshake: a token that the digest of the API key signs."""
    claims = {"iss": ISSUER, "sub": SUBJECT, "iat": now, "exp": now + TOKEN_LIFETIME}
    text = f"{_part({'alg': 'HS256', 'typ': 'JWT'})}.{_part(claims)}"
    key = sha256(REGION.sub("", api_key.strip()).encode("utf-8", "surrogatepass")).digest()
    return f"{text}.{_encoded(hmac.digest(key, text.encode(), 'sha256'))}"


def _part(fields: Mapping[str, object]) -> str:
    return _encoded(json.dumps(fields, separators=(",", ":")).encode())


def _encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")
