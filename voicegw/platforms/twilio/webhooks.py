"""Answers Twilio's webhooks with TwiML: an incoming call, the end of its session, and the end of a transfer.

Source: Twilio's documentation of Voice webhooks, of `<Dial>` and of ConversationRelay's action URL. Not all
values of SessionStatus are documented, so the decision also rests on ErrorCode, HandoffData and CallStatus.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope

from voicegw.asgi.context import RequestContext
from voicegw.asgi.webhook import Webhook, parse_call_sid
from voicegw.calls.codec import SESSION_FAILED
from voicegw.calls.server import CallServer
from voicegw.errors import TooManyRequests
from voicegw.platforms.twilio import ticket, twiml
from voicegw.platforms.twilio.form import SignedForms
from voicegw.security.transfer_policy import TransferPolicy, TransferRefused
from voicegw.telemetry.turn_log import TurnLog
from voicegw.turns.phrases import Phrases
from voicegw.wire.json import loads_object

CALL_IS_OVER = frozenset({"completed", "busy", "no-answer", "failed", "canceled"})
"""Values of CallStatus for a call whose caller is gone."""
SESSION_ENDED = frozenset({"", "ended", "completed"})
"""Values of SessionStatus for a session that did not fail."""
TRANSFER_DONE = frozenset({"completed", "answered"})
"""Values of DialCallStatus after a conversation with the person at the number."""
DIAL_STATUS = re.compile(r"[a-z-]{1,20}")
RECONNECTED = b"reconnected=1"
"""The query of the action's address for a session that replaces one that failed."""
MIN_SESSION_SECONDS = 60
"""A session that replaces a failed one is replaced too if it fails after these seconds, not before."""


@dataclass(frozen=True, slots=True)
class VoiceWebhookOptions:
    """How Twilio's calls are answered and go on."""

    phrases: Phrases
    """The gateway's phrases in `language`."""
    language: str
    """The BCP 47 tag of the language in which the phrases are spoken."""
    forms: SignedForms = field(default_factory=SignedForms)
    """Reads the requests, and has the secret that signs tickets."""
    attributes: Mapping[str, str | bool] = field(default_factory=dict)
    """Attributes of ConversationRelay, by Twilio's names."""
    languages: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """The session's languages by BCP 47 tag, each with further attributes by Twilio's names."""
    failover: Sequence[Mapping[str, str]] = ()
    """Attributes of the `<Failover>` elements, by Twilio's names."""
    parameters: Mapping[str, str] = field(default_factory=dict)
    """Custom parameters of each call."""
    transfers: TransferPolicy | None = None
    """The numbers to which the agent may transfer a call; None for no transfers."""


def build_twilio_webhooks(
    options: VoiceWebhookOptions,
    call_server: CallServer,
    turn_log: TurnLog,
    now: Callable[[], float] = time.time,
) -> dict[str, ASGIApp]:
    """Return Twilio's webhooks by path; `now` returns Unix time in seconds."""
    webhooks = TwilioWebhooks(options, call_server, turn_log, now)
    return {
        "/twilio/voice": Webhook(webhooks.handle_voice, turn_log),
        "/twilio/action": Webhook(webhooks.handle_action, turn_log),
        "/twilio/transfer": Webhook(webhooks.handle_transfer, turn_log),
    }


class TwilioWebhooks:
    """Answers the requests that Twilio posts. All raise `RequestError` for a request that is not Twilio's."""

    def __init__(
        self,
        options: VoiceWebhookOptions,
        call_server: CallServer,
        turn_log: TurnLog,
        now: Callable[[], float],
    ) -> None:
        self.options = options  # how calls are answered and go on
        self.call_server = call_server  # has the capacity, and forgets the calls that ended
        self.turn_log = turn_log  # logs the calls that get the busy phrase
        self.now = now  # returns Unix time in seconds

    async def handle_voice(self, scope: Scope, receive: Receive) -> Response:
        """Return the TwiML that connects an incoming call, or says that the gateway is busy."""
        fields = await self.options.forms.read(scope, receive)
        return self._connect(scope, parse_call_sid(fields.get("CallSid")))

    async def handle_action(self, scope: Scope, receive: Receive) -> Response:
        """Return the TwiML after a session: transfer the call, end it, or connect it again after a failure.

        The call is forgotten if it is over. A failure right after another one ends the call with a sentence.
        """
        fields = await self.options.forms.read(scope, receive)
        call = parse_call_sid(fields.get("CallSid"))
        handoff = loads_object(fields.get("HandoffData", "")) or {}
        if handoff.get("reasonCode") == "transfer_call" and not _is_caller_gone(fields):
            number = parse_transfer_number(handoff, self.options.transfers)
            if number is not None:
                action = f"{self.options.forms.base_url(scope)}/twilio/transfer"
                return _twiml_response(twiml.dial(number, action))
            return self._connect(scope, call, "refused")
        if not _has_failed(fields, handoff):
            self.call_server.call_ended("twilio", call)
            return _twiml_response(twiml.empty_response())
        if scope["query_string"] == RECONNECTED and _session_seconds(fields) < MIN_SESSION_SECONDS:
            self.call_server.call_ended("twilio", call)
            return self._say_and_hang_up(self.options.phrases.shutdown)
        return self._connect(scope, call, SESSION_FAILED)

    async def handle_transfer(self, scope: Scope, receive: Receive) -> Response:
        """Return the TwiML after `<Dial>`: end the call, or connect it to the agent if nobody answered."""
        fields = await self.options.forms.read(scope, receive)
        call, status = parse_call_sid(fields.get("CallSid")), fields.get("DialCallStatus", "")
        if status in TRANSFER_DONE or _is_caller_gone(fields):
            self.call_server.call_ended("twilio", call)
            return _twiml_response(twiml.empty_response())
        return self._connect(scope, call, status if DIAL_STATUS.fullmatch(status) else "failed")

    def _connect(self, scope: Scope, call: str, resumed: str = "") -> Response:
        """Return the TwiML that connects the call to the websocket.

        `resumed` is the reason why a call is connected again, "" for a new one.
        """
        options = self.options
        if not self.call_server.has_capacity("twilio"):
            context: RequestContext = scope["voicegw"]
            self.turn_log.record_refusal(
                TooManyRequests("Too many calls at once."), context.id, context.client
            )
            return self._say_and_hang_up(options.phrases.busy)
        parameters, attributes = dict(options.parameters), dict(options.attributes)
        if options.forms.ticket_secret:
            parameters[ticket.PARAMETER] = ticket.issue(options.forms.ticket_secret, call, self.now())
        if resumed:
            parameters[ticket.RESUMED_PARAMETER] = resumed
            attributes.pop("welcomeGreeting", None)
        if resumed == SESSION_FAILED:
            attributes["welcomeGreeting"] = options.phrases.failure
        base_url = options.forms.base_url(scope)
        query = f"?{RECONNECTED.decode()}" if resumed == SESSION_FAILED else ""
        return _twiml_response(
            twiml.connect_relay(
                f"ws{base_url.removeprefix('http')}/twilio/relay",
                action=f"{base_url}/twilio/action{query}",
                attributes=attributes,
                languages=options.languages,
                failover=options.failover,
                parameters=parameters,
            )
        )

    def _say_and_hang_up(self, words: str) -> Response:
        return _twiml_response(twiml.say_and_hang_up(words, self.options.language))


def _twiml_response(document: bytes) -> Response:
    return Response(document, media_type="text/xml")


def _is_caller_gone(fields: Mapping[str, str]) -> bool:
    return fields.get("CallStatus", "") in CALL_IS_OVER


def _has_failed(fields: Mapping[str, str], handoff: Mapping[str, object]) -> bool:
    """Did the session end although neither the agent nor the caller ended it?"""
    if _is_caller_gone(fields) or "reasonCode" in handoff:
        return False
    is_caller_there = fields.get("CallStatus") == "in-progress"
    return is_caller_there or "ErrorCode" in fields or fields.get("SessionStatus", "") not in SESSION_ENDED


def _session_seconds(fields: Mapping[str, str]) -> int:
    seconds = fields.get("SessionDuration", "")
    return int(seconds) if re.fullmatch("[0-9]{1,9}", seconds) else 0


def parse_transfer_number(handoff: Mapping[str, object], transfers: TransferPolicy | None) -> str | None:
    """Return the number of a transfer, None if `transfers` does not allow it.

    `handoff` is the handoffData that `voicegw.platforms.conversation_relay.actions` wrote into the end frame.
    """
    number = handoff.get("number")
    if transfers is not None and isinstance(number, str):
        with suppress(TransferRefused):
            return transfers.resolve(number)
    return None
