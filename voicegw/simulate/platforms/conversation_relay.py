"""The callers of ConversationRelay, as Twilio and Telnyx speak it, and what these two need. Pure."""

from __future__ import annotations

import hmac
import secrets
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence

from voicegw.platforms.twilio import ticket
from voicegw.security.keys import encode_secret
from voicegw.simulate.platform import Frame, PlatformTraits, decode_frame, encode_frame
from voicegw.simulate.platforms.conversation_relay_checks import CHECKS, RelayVendor, find_frame_flaw
from voicegw.simulate.recording import ActionSeen, AnswerEnded, Observation, HangUpSeen, TextHeard, Violation
from voicegw.simulate.script import CallScript

CHARS_PER_SECOND = 15.0
"""Characters of speech per second."""
MALFORMED_FRAMES: tuple[Frame, ...] = (
    '{"type":"weather","rain":true}',
    '{"type":"info","name":"clientSpeaking","value":"off","ts":1760000000000}',
    '{"type":"configUpdated"}',
    '{"type":"error","description":"This is a rehearsal."}',
    '{"type":null}',
    "[]",
    "{",
    b"\x00\xff",
)


class SimulatedConversationRelay:
    """One call of Twilio's, or, as `flavour`, of Telnyx's.

    `secret` is Twilio's auth token: it signs the handshake and makes a ticket, as the gateway's own web hook
    does. `public` is the address that is signed where another one is dialled, of a gateway behind a proxy.
    `parameters` are those of the call's TwiML. `now` is the time of day in seconds since 1970; `hex`
    gives random hexadecimal digits for so many bytes.
    """

    ping_interval: float | None = None
    traits = PlatformTraits(frozenset({"silent"}), greeting_wait=0.3)

    def __init__(
        self,
        script: CallScript,
        secret: str = "",
        *,
        vendor: RelayVendor = "twilio",
        public_url: str = "",
        parameters: Mapping[str, str] | None = None,
        now: float = 0.0,
        random_hex: Callable[[int], str] = secrets.token_hex,
    ) -> None:
        self.name: str = vendor
        self.script = script
        self.secret = secret if vendor == "twilio" else ""
        self.vendor: RelayVendor = vendor
        self.public_url = public_url
        self.checks = CHECKS[vendor]
        self.call_ids = _ids(vendor, random_hex)
        self.parameters = dict(parameters or {})
        if self.secret:
            shown = ticket.issue(self.secret, self.call_ids["callSid"], now)
            self.parameters = {ticket.PARAMETER: shown, **self.parameters}
        self.question_frames: Sequence[Frame] = ()  # the last question
        self.turn: int | None = None  # its number; None before the first
        self.is_answered = False  # did its answer end?
        self.excess_item = "one-last"  # what it is, if it is answered twice
        self.is_interrupted = False  # was it interrupted?
        self.is_cycle_open = False  # is a talk cycle open?
        self.is_cycle_stale = False  # is the open talk cycle that of the question before?
        self.has_partial = False  # did words come that may still change?
        self.is_call_ended = False

    def build_url(self, url: str) -> str:
        """What stands in the TwiML."""
        return url

    def build_headers(self, url: str, *, forged: bool = False) -> Mapping[str, str]:
        """Twilio's signature of the address; where `forged`, that of another secret."""
        if self.name != "twilio" or not (self.secret or forged):
            return {}
        key = self.secret + " forged" if forged else self.secret
        return {"X-Twilio-Signature": sign_url(key, self.public_url or url)}

    def start(self, *, reconnecting: bool) -> Sequence[Frame]:
        """The setup; a call that comes back replays the last question, answered or not."""
        self.is_cycle_open = self.is_cycle_stale = False
        if reconnecting and self.question_frames:
            self.excess_item = "not-twice"
        facts = {
            **self.call_ids,
            "from": self.script.caller,
            "to": self.script.called,
            "direction": "inbound",
            "forwardedFrom": "",
            "callerName": "",
            "customParameters": self.parameters,
        }
        return (encode_frame(type="setup", **facts), *(self.question_frames if reconnecting else ()))

    def encode_partial(self, text: str) -> Sequence[Frame]:
        self.has_partial = True
        return (self._prompt(text, last=False),)

    def ask(self, text: str | None) -> Sequence[Frame]:
        """A prompt; the platform tells of no silence."""
        return () if text is None else self._question(self._prompt(text, last=True))

    def press(self, digits: str) -> Sequence[Frame]:
        return self._question(*(encode_frame(type="dtmf", digit=digit) for digit in digits))

    def repeat(self) -> Sequence[Frame]:
        return ()

    def interrupt(self, heard_text: str) -> Sequence[Frame]:
        self.is_interrupted = True
        spoken = int(len(heard_text) / CHARS_PER_SECOND * 1000)
        return (encode_frame(type="interrupt", utteranceUntilInterrupt=heard_text, durationUntilInterruptMs=spoken),)

    def encode_malformed(self) -> Sequence[Frame]:
        return MALFORMED_FRAMES

    def ping(self) -> Sequence[Frame]:
        return ()

    def hang_up(self) -> Sequence[Frame]:
        return ()

    def receive(self, frame: Frame) -> Sequence[Observation]:
        """What a frame of the gateway's means. Never raises."""
        if self.is_call_ended:
            return (Violation("ends-last", "a frame came after the end of the call"),)
        data = decode_frame(frame)
        why = data if isinstance(data, str) else find_frame_flaw(data, self.vendor)
        if isinstance(data, str) or why is not None:
            return (Violation("frames", why or ""),)
        if data["type"] == "text":
            return tuple(self._text(data["token"], data.get("last") is True))
        acted = ActionSeen(self.turn, data["type"], str(frame))
        return (acted, *self._end()) if acted.name == "end" else (acted,)

    def _prompt(self, words: str, *, last: bool) -> str:
        return encode_frame(type="prompt", voicePrompt=words, lang=self.script.language, last=last)

    def _question(self, *frames: str) -> Sequence[Frame]:
        """The next question. A talk cycle that is open by then may yet be closed, and means nothing more."""
        newer = self.turn is not None and not (self.is_answered or self.is_interrupted)
        self.excess_item = "superseded" if newer else "one-last"
        self.question_frames = frames
        self.turn = 0 if self.turn is None else self.turn + 1
        self.is_cycle_stale = self.is_cycle_open
        self.is_answered = self.is_interrupted = self.has_partial = False
        return frames

    def _text(self, words: str, last: bool) -> Iterator[Observation]:
        """A token belongs to the newest question."""
        if self.is_cycle_stale and last and not words:
            self.is_cycle_stale = self.is_cycle_open = False
            return
        self.is_cycle_stale, self.is_cycle_open = False, not last
        if self.is_answered and not self.is_interrupted and (self.has_partial or self.turn is not None):
            yield self._excess(words, last)
            return
        yield TextHeard(self.turn, words)
        if last:
            self.is_answered = True
            yield AnswerEnded(self.turn)

    def _excess(self, words: str, last: bool) -> Violation:
        """A token although the answer had ended."""
        what = f"{'a final' if last else 'one more'} token of {len(words)} characters"
        if self.has_partial:
            return Violation("partial", f"{what} came before the caller had finished")
        return Violation(self.excess_item, f"{what} came after the answer had ended")

    def _end(self) -> Iterator[Observation]:
        self.is_call_ended = True
        if self.is_cycle_open:
            yield Violation("ends-last", "the call was ended before the final token of its last words")
        if not self.is_answered:
            yield AnswerEnded(self.turn)
        yield HangUpSeen()


def sign_url(secret: str, url: str) -> str:
    """Twilio's signature of a handshake to this address."""
    sealed = hmac.digest(encode_secret(secret), encode_secret(url), "sha1")
    return b64encode(sealed).decode()


def _ids(flavour: RelayVendor, hex: Callable[[int], str]) -> dict[str, str]:
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
