"""ConversationRelay, as Twilio and Telnyx implement it: the platform's side of a call. Pure.

The gateway's side is `voicegw.platforms.conversation_relay`, which this module does not use.
"""

from __future__ import annotations

import hmac
import secrets
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence

from voicegw.platforms.twilio import ticket
from voicegw.security.keys import encode_secret
from voicegw.simulate.platform import (
    CHARS_PER_SECOND,
    Frame,
    PlatformTraits,
    WebSocketEntry,
    decode_frame,
    encode_frame,
)
from voicegw.simulate.platforms.conversation_relay_checks import CHECKS, RelayVendor, find_frame_flaw
from voicegw.simulate.recording import (
    ActionSeen,
    AnswerEnded,
    HangUpSeen,
    Observation,
    TextHeard,
    Violation,
)
from voicegw.simulate.script import CallScript

MALFORMED_FRAMES: tuple[Frame, ...] = (
    '{"type":"weather","rain":true}',
    '{"type":"info","name":"clientSpeaking","value":"off","ts":1760000000000}',
    '{"type":"configUpdated"}',
    '{"type":"error","description":"This is a simulation."}',
    '{"type":null}',
    "[]",
    "{",
    b"\x00\xff",
)


class SimulatedConversationRelay:
    """Plays one call of Twilio, or, with another `vendor`, of Telnyx.

    `secret` is Twilio's auth token: it signs the handshake and makes a ticket, as the gateway's own webhook
    does. `public_url` is the URL that is signed, for a gateway behind a proxy; "" for the one that is called.
    `parameters` are the custom parameters of the call's TwiML. `now` is the time of day in seconds since
    1970; `random_hex` returns random hexadecimal digits for a number of bytes.
    """

    ping_interval: float | None = None
    traits = PlatformTraits(frozenset({"silent"}), reports_no_silence=True, greeting_wait=0.3)
    may_reply_twice = False

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
        self.script = script  # the caller's turns
        self.secret = secret if vendor == "twilio" else ""
        self.vendor: RelayVendor = vendor
        self.public_url = public_url
        self.checks = CHECKS[vendor]
        self.call_ids = _make_call_ids(vendor, random_hex)  # fields of the setup frame
        self.parameters = dict(parameters or {})
        if self.secret:
            issued = ticket.issue(self.secret, self.call_ids["callSid"], now)
            self.parameters = {ticket.PARAMETER: issued, **self.parameters}
        self.question_frames: Sequence[Frame] = ()  # the last question
        self.turn: int | None = None  # its number; None before the first
        self.is_answered = False  # has its answer ended?
        self.excess_item = "one-last"  # the check that fails if it is answered twice
        self.is_interrupted = False
        self.is_cycle_open = False  # is a talk cycle open?
        self.is_cycle_stale = False  # does the open talk cycle belong to the previous question?
        self.has_partial = False  # has a partial prompt been sent since the last question?
        self.is_call_ended = False

    def build_url(self, url: str) -> str:
        """Return the URL as it stands in the TwiML."""
        return url

    def build_headers(self, url: str, *, forged: bool = False) -> Mapping[str, str]:
        """Return Twilio's signature of the URL; with `forged`, one by another secret."""
        if self.name != "twilio" or not (self.secret or forged):
            return {}
        key = self.secret + " forged" if forged else self.secret
        return {"X-Twilio-Signature": sign_url(key, self.public_url or url)}

    def start(self, *, reconnecting: bool, resend: bool = True) -> Sequence[Frame]:
        """Return the setup frame. With `resend`, a reconnect repeats the last question, answered or not."""
        self.is_cycle_open = self.is_cycle_stale = False
        repeated = self.question_frames if reconnecting and resend else ()
        if reconnecting and self.question_frames:
            self.excess_item = "not-twice"
        setup = {
            **self.call_ids,
            "from": self.script.caller,
            "to": self.script.called,
            "direction": "inbound",
            "forwardedFrom": "",
            "callerName": "",
            "customParameters": self.parameters,
        }
        return (encode_frame(type="setup", **setup), *repeated)

    def encode_partial(self, text: str) -> Sequence[Frame]:
        """Return a prompt with `last: false`."""
        self.has_partial = True
        return (self._encode_prompt(text, last=False),)

    def ask(self, text: str | None) -> Sequence[Frame]:
        """Return a prompt; () for a silent caller, which the platform does not report."""
        return self._begin_question(*(() if text is None else (self._encode_prompt(text, last=True),)))

    def press(self, digits: str) -> Sequence[Frame]:
        """Return a dtmf frame for each key."""
        return self._begin_question(*(encode_frame(type="dtmf", digit=digit) for digit in digits))

    def repeat(self) -> Sequence[Frame]:
        return ()

    def interrupt(self, heard_text: str, *, older: bool = False) -> Sequence[Frame]:
        """Return an interrupt frame with the spoken part of the answer."""
        self.is_interrupted = self.is_interrupted or not older
        spoken_ms = int(len(heard_text) / CHARS_PER_SECOND * 1000)
        return (
            encode_frame(
                type="interrupt", utteranceUntilInterrupt=heard_text, durationUntilInterruptMs=spoken_ms
            ),
        )

    def encode_malformed(self) -> Sequence[Frame]:
        return MALFORMED_FRAMES

    def ping(self) -> Sequence[Frame]:
        return ()

    def hang_up(self) -> Sequence[Frame]:
        return ()

    def receive(self, frame: Frame) -> Sequence[Observation]:
        """Return the observations in a frame from the gateway. It never raises."""
        if self.is_call_ended:
            return (Violation("ends-last", "a frame came after the end of the call"),)
        data = decode_frame(frame)
        flaw = data if isinstance(data, str) else find_frame_flaw(data, self.vendor)
        if isinstance(data, str) or flaw is not None:
            return (Violation("frames", flaw or ""),)
        if data["type"] == "text":
            return tuple(self._receive_token(data["token"], data.get("last") is True))
        action = ActionSeen(self.turn, data["type"], str(frame))
        return (action, *self._end_call()) if action.name == "end" else (action,)

    def _encode_prompt(self, text: str, *, last: bool) -> str:
        return encode_frame(type="prompt", voicePrompt=text, lang=self.script.language, last=last)

    def _begin_question(self, *frames: str) -> Sequence[Frame]:
        """Begin the next question.

        A talk cycle that is open now may still be closed by a final token, which then belongs to no answer.
        """
        supersedes = self.turn is not None and not (self.is_answered or self.is_interrupted)
        self.excess_item = "superseded" if supersedes else "one-last"
        self.question_frames = frames
        self.turn = 0 if self.turn is None else self.turn + 1
        self.is_cycle_stale = self.is_cycle_open
        self.is_answered = self.is_interrupted = self.has_partial = False
        return frames

    def _receive_token(self, text: str, last: bool) -> Iterator[Observation]:
        """Assign a token to the newest question."""
        if self.is_cycle_stale and last and not text:
            self.is_cycle_stale = self.is_cycle_open = False
            return
        self.is_cycle_stale, self.is_cycle_open = False, not last
        is_excess = self.has_partial or (self.turn is not None and not self.may_reply_twice)
        if self.is_answered and not self.is_interrupted and is_excess:
            yield self._report_excess(text, last)
            return
        yield TextHeard(self.turn, text)
        if last:
            self.is_answered = True
            yield AnswerEnded(self.turn)

    def _report_excess(self, text: str, last: bool) -> Violation:
        """Report a token after the end of the answer."""
        token = f"{'a final' if last else 'one more'} token of {len(text)} characters"
        if self.has_partial:
            return Violation("partial", f"{token} came before the caller had finished")
        return Violation(self.excess_item, f"{token} came after the answer had ended")

    def _end_call(self) -> Iterator[Observation]:
        self.is_call_ended = True
        if self.is_cycle_open:
            yield Violation("ends-last", "the call was ended before the final token of its last words")
        if not self.is_answered:
            yield AnswerEnded(self.turn)
        yield HangUpSeen()


def sign_url(secret: str, url: str) -> str:
    """Return Twilio's signature of a handshake to this URL: base64 of HMAC-SHA1."""
    digest = hmac.digest(encode_secret(secret), encode_secret(url), "sha1")
    return b64encode(digest).decode()


def _make_call_ids(vendor: RelayVendor, random_hex: Callable[[int], str]) -> dict[str, str]:
    if vendor == "twilio":
        return {
            "sessionId": f"VX{random_hex(16)}",
            "accountSid": f"AC{random_hex(16)}",
            "callSid": f"CA{random_hex(16)}",
            "parentCallSid": "",
            "callType": "PSTN",
            "callStatus": "RINGING",
        }
    return {
        "sessionId": random_hex(16),
        "callControlId": f"v3:{random_hex(16)}",
        "callSessionId": random_hex(16),
        "callLegId": random_hex(16),
        "callStatus": "active",
    }


TWILIO = WebSocketEntry(
    name="twilio",
    make=lambda script, setup, now: SimulatedConversationRelay(
        script, setup.secret, public_url=setup.public_url, now=now
    ),
)
TELNYX = WebSocketEntry(
    name="telnyx",
    secret_in_url=True,
    public_path_words=frozenset({"telnyx", "relay"}),
    make=lambda script, setup, now: SimulatedConversationRelay(
        script, setup.secret, vendor="telnyx", now=now
    ),
)
