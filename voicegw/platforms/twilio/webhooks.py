"""Answers Twilio's webhooks with TwiML: an incoming call, and the end of its session.

Source: Twilio's documentation of Voice webhooks and of ConversationRelay's action URL.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope

from voicegw.asgi.body import read_body
from voicegw.asgi.context import RequestContext
from voicegw.asgi.webhook import MAX_BODY_BYTES, Webhook, parse_call_sid, require_content_type
from voicegw.calls.server import CallServer
from voicegw.errors import BadRequest, Forbidden, TooManyRequests
from voicegw.platforms.twilio import ticket, twiml
from voicegw.platforms.twilio.signature import (
    signature_algorithm,
    signed_url_candidates,
    verify_twilio_signature,
)
from voicegw.security.authenticator import require_loopback
from voicegw.security.transfer_policy import TransferPolicy, TransferRefused
from voicegw.telemetry.turn_log import TurnLog
from voicegw.wire.json import loads

FORM = b"application/x-www-form-urlencoded"
MAX_FORM_FIELDS = 500
"""Fields of a form; Twilio sends a few dozen. A form with more is refused."""


@dataclass(frozen=True, slots=True)
class VoiceWebhookOptions:
    """How Twilio's incoming calls are answered."""

    busy_phrase: str
    """The words for a caller if the gateway has no capacity."""
    language: str
    """The BCP 47 tag of the language in which `busy_phrase` is spoken."""
    public_url: str = ""
    """The gateway's address as Twilio knows it, without a path; "" for the Host header of the request."""
    attributes: Mapping[str, str | bool] = field(default_factory=dict)
    """Attributes of ConversationRelay, by Twilio's names."""
    languages: Sequence[str] = ()
    """BCP 47 tags that the session may switch to."""
    parameters: Mapping[str, str] = field(default_factory=dict)
    """Custom parameters of each call."""
    transfers: TransferPolicy | None = None
    """The numbers to which the agent may transfer a call; None for no transfers."""
    auth_token: str = field(default="", repr=False)
    """The account's auth token, for signatures with HMAC-SHA1; "" if it is not configured."""
    signing_key: str = field(default="", repr=False)
    """The shared key of signatures with HMAC-SHA256; "" if it is not configured."""

    @property
    def ticket_secret(self) -> str:
        """The secret that signs tickets; "" if none is configured: calls then have no ticket."""
        return self.auth_token or self.signing_key


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
    }


class TwilioWebhooks:
    """Answers the requests that Twilio posts."""

    def __init__(
        self,
        options: VoiceWebhookOptions,
        call_server: CallServer,
        turn_log: TurnLog,
        now: Callable[[], float],
    ) -> None:
        self.options = options  # how incoming calls are answered
        self.call_server = call_server  # has the capacity, and forgets the calls that ended
        self.turn_log = turn_log  # logs the calls that get the busy phrase
        self.now = now  # returns Unix time in seconds

    async def handle_voice(self, scope: Scope, receive: Receive) -> Response:
        """Return the TwiML that connects an incoming call to the websocket, or says that the gateway is busy.

        Raises `RequestError` for a request that is not Twilio's or names no call.
        """
        fields = await self._read_form(scope, receive)
        call = parse_call_sid(fields.get("CallSid"))
        options = self.options
        if not self.call_server.has_capacity("twilio"):
            context: RequestContext = scope["voicegw"]
            self.turn_log.record_refusal(
                TooManyRequests("Too many calls at once."), context.id, context.client
            )
            return _twiml_response(twiml.say_and_hang_up(options.busy_phrase, options.language))
        parameters = dict(options.parameters)
        if options.ticket_secret:
            parameters[ticket.PARAMETER] = ticket.issue(options.ticket_secret, call, self.now())
        base_url = self._base_url(scope)
        return _twiml_response(
            twiml.connect_relay(
                f"ws{base_url.removeprefix('http')}/twilio/relay",
                action=f"{base_url}/twilio/action",
                attributes=options.attributes,
                languages=options.languages,
                parameters=parameters,
            )
        )

    async def handle_action(self, scope: Scope, receive: Receive) -> Response:
        """Forget the call, whose session is over; return the TwiML that transfers it, or else ends it.

        Raises `RequestError` for a request that is not Twilio's or names no call.
        """
        fields = await self._read_form(scope, receive)
        self.call_server.call_ended("twilio", parse_call_sid(fields.get("CallSid")))
        number = parse_transfer_number(fields.get("HandoffData", ""), self.options.transfers)
        return _twiml_response(twiml.empty_response() if number is None else twiml.dial(number))

    async def _read_form(self, scope: Scope, receive: Receive) -> dict[str, str]:
        """Return the fields of a request that Twilio signed. Raises `RequestError` for any other."""
        headers = dict(scope["headers"])
        must_be_signed = bool(self.options.ticket_secret)
        if not must_be_signed:
            require_loopback(scope)
        elif b"x-twilio-signature" not in headers:
            raise Forbidden("The signature is missing.")
        require_content_type(FORM, headers)
        pairs = parse_form(await read_body(scope, receive, MAX_BODY_BYTES))
        if must_be_signed and not self._is_signed(scope, headers, pairs):
            raise Forbidden("The signature is wrong.")
        return dict(pairs)

    def _is_signed(self, scope: Scope, headers: Mapping[bytes, bytes], pairs: list[tuple[str, str]]) -> bool:
        settings = headers.get(b"x-twilio-webhooks-signature-settings", b"").decode("latin-1")
        secret = (
            self.options.auth_token
            if signature_algorithm(settings) == "HMAC_SHA1"
            else self.options.signing_key
        )
        scheme, _, host = self._base_url(scope).partition("://")
        query = f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else ""
        candidates = signed_url_candidates(scheme, host, scope["raw_path"], b"", websocket=False)
        urls = [url + query for url, _ in candidates]  # a POST keeps its query in the address
        return verify_twilio_signature(
            headers[b"x-twilio-signature"].decode("latin-1"), settings, urls, pairs, secret
        )

    def _base_url(self, scope: Scope) -> str:
        """Return the gateway's address without a path. A forged Host header fits no signature of Twilio's."""
        if self.options.public_url:
            return self.options.public_url
        host = next((value for name, value in scope["headers"] if name == b"host"), b"")
        return f"{scope['scheme']}://{host.decode('latin-1')}"


def _twiml_response(document: bytes) -> Response:
    return Response(document, media_type="text/xml")


def parse_form(body: bytes) -> list[tuple[str, str]]:
    """Return the fields of a form as pairs, in order. Raises `BadRequest` for a body that is not a form."""
    try:
        return parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=MAX_FORM_FIELDS,
        )
    except ValueError:
        raise BadRequest("The body is not a form.") from None


def parse_transfer_number(handoff: str, transfers: TransferPolicy | None) -> str | None:
    """Return the number of a transfer, None if the agent requested none or `transfers` does not allow it.

    `handoff` is the handoffData that `voicegw.platforms.conversation_relay.codec` wrote into the end frame.
    """
    try:
        data = loads(handoff.encode())
    except ValueError:
        return None
    match data:
        case {"reasonCode": "transfer_call", "number": str(number)} if transfers is not None:
            with suppress(TransferRefused):
                return transfers.resolve(number)
    return None
