"""The callers of ConversationRelay, as Twilio and Telnyx speak it, and what these two need. Pure."""

from __future__ import annotations

import hmac
import secrets
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence

from voicegw.platforms.twilio import ticket
from voicegw.security.keys import encode_secret
from voicegw.simulate.platform import Frame, Ways, opened, written
from voicegw.simulate.platforms.conversation_relay_checks import CHECKS, Flavour, odd
from voicegw.simulate.recording import Acted, Done, Heard, HungUp, Words, Wrong
from voicegw.simulate.script import Script

PACE = 15.0
"""Characters of speech per second."""
NONSENSE: tuple[Frame, ...] = (
    '{"type":"weather","rain":true}',
    '{"type":"info","name":"clientSpeaking","value":"off","ts":1760000000000}',
    '{"type":"configUpdated"}',
    '{"type":"error","description":"This is a rehearsal."}',
    '{"type":null}',
    "[]",
    "{",
    b"\x00\xff",
)


class Relay:
    """One call of Twilio's, or, as `flavour`, of Telnyx's.

    `secret` is Twilio's auth token: it signs the handshake and makes a ticket, as the gateway's own web hook
    does. `public` is the address that is signed where another one is dialled, of a gateway behind a proxy.
    `parameters` are those of the call's TwiML. `now` is the time of day in seconds since 1970; `hex`
    gives random hexadecimal digits for so many bytes.
    """

    every: float | None = None
    ways = Ways(frozenset({"silent"}), opening=0.3)

    def __init__(
        self,
        script: Script,
        secret: str = "",
        *,
        flavour: Flavour = "twilio",
        public: str = "",
        parameters: Mapping[str, str] | None = None,
        now: float = 0.0,
        hex: Callable[[int], str] = secrets.token_hex,
    ) -> None:
        self.name: str = flavour
        self.script = script
        self.secret = secret if flavour == "twilio" else ""
        self.flavour: Flavour = flavour
        self.public = public
        self.checks = CHECKS[flavour]
        self.ids = _ids(flavour, hex)
        self.parameters = dict(parameters or {})
        if self.secret:
            shown = ticket.sign(self.secret, self.ids["callSid"], now)
            self.parameters = {ticket.PARAMETER: shown, **self.parameters}
        self.asked: Sequence[Frame] = ()  # the last question
        self.turn: int | None = None  # its number; None before the first
        self.done = False  # did its answer end?
        self.item = "one-last"  # what it is, if it is answered twice
        self.stopped = False  # was it interrupted?
        self.speaking = False  # is a talk cycle open?
        self.stale = False  # is the open talk cycle that of the question before?
        self.guessing = False  # did words come that may still change?
        self.over = False

    def address(self, url: str) -> str:
        """What stands in the TwiML."""
        return url

    def headers(self, address: str, *, forged: bool = False) -> Mapping[str, str]:
        """Twilio's signature of the address; where `forged`, that of another secret."""
        if self.name != "twilio" or not (self.secret or forged):
            return {}
        key = self.secret + " forged" if forged else self.secret
        return {"X-Twilio-Signature": signature(key, self.public or address)}

    def open(self, *, again: bool) -> Sequence[Frame]:
        """The setup; a call that comes back replays the last question, answered or not."""
        self.speaking = self.stale = False
        if again and self.asked:
            self.item = "not-twice"
        facts = {
            **self.ids,
            "from": self.script.caller,
            "to": self.script.called,
            "direction": "inbound",
            "forwardedFrom": "",
            "callerName": "",
            "customParameters": self.parameters,
        }
        return (written(type="setup", **facts), *(self.asked if again else ()))

    def partial(self, words: str) -> Sequence[Frame]:
        self.guessing = True
        return (self._prompt(words, last=False),)

    def ask(self, said: str | None) -> Sequence[Frame]:
        """A prompt; the platform tells of no silence."""
        return () if said is None else self._question(self._prompt(said, last=True))

    def press(self, digits: str) -> Sequence[Frame]:
        return self._question(*(written(type="dtmf", digit=digit) for digit in digits))

    def repeat(self) -> Sequence[Frame]:
        return ()

    def interrupt(self, heard: str) -> Sequence[Frame]:
        self.stopped = True
        spoken = int(len(heard) / PACE * 1000)
        return (written(type="interrupt", utteranceUntilInterrupt=heard, durationUntilInterruptMs=spoken),)

    def nonsense(self) -> Sequence[Frame]:
        return NONSENSE

    def ping(self) -> Sequence[Frame]:
        return ()

    def leave(self) -> Sequence[Frame]:
        return ()

    def hear(self, frame: Frame) -> Sequence[Heard]:
        """What a frame of the gateway's means. Never raises."""
        if self.over:
            return (Wrong("ends-last", "a frame came after the end of the call"),)
        data = opened(frame)
        why = data if isinstance(data, str) else odd(data, self.flavour)
        if isinstance(data, str) or why is not None:
            return (Wrong("frames", why or ""),)
        if data["type"] == "text":
            return tuple(self._text(data["token"], data.get("last") is True))
        acted = Acted(self.turn, data["type"], str(frame))
        return (acted, *self._end()) if acted.name == "end" else (acted,)

    def _prompt(self, words: str, *, last: bool) -> str:
        return written(type="prompt", voicePrompt=words, lang=self.script.language, last=last)

    def _question(self, *frames: str) -> Sequence[Frame]:
        """The next question. A talk cycle that is open by then may yet be closed, and means nothing more."""
        newer = self.turn is not None and not (self.done or self.stopped)
        self.item = "superseded" if newer else "one-last"
        self.asked = frames
        self.turn = 0 if self.turn is None else self.turn + 1
        self.stale = self.speaking
        self.done = self.stopped = self.guessing = False
        return frames

    def _text(self, words: str, last: bool) -> Iterator[Heard]:
        """A token belongs to the newest question."""
        if self.stale and last and not words:
            self.stale = self.speaking = False
            return
        self.stale, self.speaking = False, not last
        if self.done and not self.stopped and (self.guessing or self.turn is not None):
            yield self._excess(words, last)
            return
        yield Words(self.turn, words)
        if last:
            self.done = True
            yield Done(self.turn)

    def _excess(self, words: str, last: bool) -> Wrong:
        """A token although the answer had ended."""
        what = f"{'a final' if last else 'one more'} token of {len(words)} characters"
        if self.guessing:
            return Wrong("partial", f"{what} came before the caller had finished")
        return Wrong(self.item, f"{what} came after the answer had ended")

    def _end(self) -> Iterator[Heard]:
        self.over = True
        if self.speaking:
            yield Wrong("ends-last", "the call was ended before the final token of its last words")
        if not self.done:
            yield Done(self.turn)
        yield HungUp()


def signature(secret: str, address: str) -> str:
    """Twilio's signature of a handshake to this address."""
    sealed = hmac.digest(encode_secret(secret), encode_secret(address), "sha1")
    return b64encode(sealed).decode()


def _ids(flavour: Flavour, hex: Callable[[int], str]) -> dict[str, str]:
    if flavour == "twilio":
        return {
            "sessionId": f"VX{hex(16)}",
            "accountSid": f"AC{hex(16)}",
            "callSid": f"CA{hex(16)}",
            "parentCallSid": "",
            "callType": "PSTN",
            "callStatus": "RINGING",
        }
    return {
        "sessionId": hex(16),
        "callControlId": f"v3:{hex(16)}",
        "callSessionId": hex(16),
        "callLegId": hex(16),
        "callStatus": "active",
    }
