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
from voicegw.simulate.frame_schema import misfit
from voicegw.simulate.platform import KEYLESS, Frame, Ways, opened, shown, written
from voicegw.simulate.platforms.speech_engine_checks import CHECKS, KINDS
from voicegw.simulate.recording import Done, Heard, Ponged, Words, Wrong
from voicegw.simulate.script import Script
from voicegw.simulate.transcript import Transcript

EVERY = 2.0
"""Seconds between pings. ElevenLabs does not tell how often it sends them: this is our choice."""
LASTS = 3600
"""Seconds for which a token is good: longer than a rehearsal takes."""
TELLING = 8
"""Characters of words that do not come twice by chance."""
HEADER = "X-Elevenlabs-Speech-Engine-Authorization"
NONSENSE: tuple[Frame, ...] = (
    '{"type":"weather","rain":true}',
    '{"type":"error","message":"This is a rehearsal."}',
    '{"type":null}',
    "[]",
    "{",
)


class SpeechEngine:
    """One conversation of ElevenLabs'.

    `secret` is the account's API key, which signs a token for each handshake. `now` is the time of day in
    seconds since 1970; `hex` gives random hexadecimal digits for so many bytes. The transcript that asks
    question 0 has number 1, and so on.
    """

    name = "speech-engine"
    every: float | None = EVERY
    ways = Ways(KEYLESS, mutes=True)
    checks: Sequence[Check] = CHECKS

    def __init__(
        self,
        script: Script,
        secret: str = "",
        *,
        now: float = 0.0,
        hex: Callable[[int], str] = secrets.token_hex,
    ) -> None:
        self.secret = secret
        self.now = int(now)
        self.conversation = f"conv_{hex(13)}"
        self.talk = Transcript()
        self.talk.answered(script.greeting)
        self.newest = 0
        self.asked: Sequence[Frame] = ()
        self.final: set[int] = set()  # the answers that ended
        self.stopped = False  # was the newest answer interrupted?
        self.said = ""  # in answer to the newest transcript
        self.before: str | None = None  # what of it was said before it was repeated

    def address(self, url: str) -> str:
        """The `ws_url`, as it was entered."""
        return url

    def headers(self, address: str, *, forged: bool = False) -> Mapping[str, str]:
        """A token; where `forged`, one that another key signed."""
        if not (self.secret or forged):
            return {}
        return {HEADER: f"Bearer {token(self.secret + ' forged' if forged else self.secret, self.now)}"}

    def open(self, *, again: bool) -> Sequence[Frame]:
        """The beginning; a conversation that comes back asks again what was not answered."""
        unanswered = again and self.newest not in self.final
        begin = written(type="init", conversation_id=self.conversation)
        return (begin, *(self.asked if unanswered else ()))

    def partial(self, words: str) -> Sequence[Frame]:
        return ()

    def ask(self, said: str | None) -> Sequence[Frame]:
        """The whole conversation under the next number; if nothing was said, without anything new."""
        self.talk.closed()
        if said is not None:
            self.talk.asked(said)
        self.newest += 1
        self.stopped, self.said, self.before = False, "", None
        entries = self.talk.entries
        self.asked = (written(type="user_transcript", user_transcript=entries, event_id=self.newest),)
        return self.asked

    def press(self, digits: str) -> Sequence[Frame]:
        return ()

    def repeat(self) -> Sequence[Frame]:
        self.before = self.said.strip()
        return self.asked

    def interrupt(self, heard: str) -> Sequence[Frame]:
        """Nothing: ElevenLabs stops playing, and the next transcript tells what was heard."""
        self.stopped = True
        self.talk.cut(heard)
        return ()

    def nonsense(self) -> Sequence[Frame]:
        return NONSENSE

    def ping(self) -> Sequence[Frame]:
        return ('{"type":"ping"}',)

    def leave(self) -> Sequence[Frame]:
        return ('{"type":"close"}',)

    def hear(self, frame: Frame) -> Sequence[Heard]:
        """What a frame of the gateway's means. Never raises."""
        data = opened(frame)
        why = data if isinstance(data, str) else misfit(data, data.get("type"), KINDS)
        if isinstance(data, str) or why is not None:
            return (Wrong("frames", str(why)),)
        if data["type"] == "pong":
            return (Ponged(),)
        return tuple(self._response(data["event_id"], data["content"], data["is_final"]))

    def _response(self, id: int, content: str, final: bool) -> Iterator[Heard]:
        if not self.newest:
            why = f"agent_response with {len(content)} characters before the first user_transcript"
            yield Wrong("speaks-when-asked", why)
        elif not 1 <= id <= self.newest:
            yield Wrong("frames", f"event_id {id} is no transcript's, the newest is {self.newest}")
        elif id in self.final:
            yield self._excess(id, final)
        elif id == self.newest:
            yield from self._answer(content, final)
        else:
            yield from self._late(id, content, final)

    def _excess(self, id: int, final: bool) -> Wrong:
        what = "a second final message" if final else "a message after the final one"
        repeated = id == self.newest and self.before is not None
        return Wrong("not-twice" if repeated else "one-final", f"{what} with event_id {id}")

    def _answer(self, content: str, final: bool) -> Iterator[Heard]:
        if content:
            self.said += content
            yield from self._again()
        if content and not self.stopped:  # else it is not played
            self.talk.answered(content)
            yield Words(self.newest - 1, content)
        if final:
            self.final.add(self.newest)
            if content:
                yield Wrong("one-final", f"a final message with {len(content)} characters of content")
            yield Done(self.newest - 1)

    def _late(self, id: int, content: str, final: bool) -> Iterator[Heard]:
        """A message in answer to a transcript that was superseded."""
        if final:
            why = f"a final message with event_id {id}, when {self.newest} was the newest"
            yield Wrong("no-final-superseded", why)
        if content:
            yield Words(id - 1, content)

    def _again(self) -> Iterator[Heard]:
        """Did what was said before the transcript was repeated come once more?"""
        before = self.before or ""
        if len(before) >= TELLING and self.said.count(before) > 1:
            self.before = ""
            yield Wrong("not-twice", f"event_id {self.newest}: {shown(before)} came twice")


def token(api_key: str, now: int) -> str:
    """What ElevenLabs shows at the handshake: a token that the digest of the API key signs."""
    claims = {"iss": ISSUER, "sub": SUBJECT, "iat": now, "exp": now + LASTS}
    text = f"{_part({'alg': 'HS256', 'typ': 'JWT'})}.{_part(claims)}"
    key = sha256(REGION.sub("", api_key.strip()).encode("utf-8", "surrogatepass")).digest()
    return f"{text}.{_encoded(hmac.digest(key, text.encode(), 'sha256'))}"


def _part(fields: Mapping[str, object]) -> str:
    return _encoded(json.dumps(fields, separators=(",", ":")).encode())


def _encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")
