"""The webhooks of Twilio: an incoming call, and the end of its session."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope

from voicegw.asgi.body import read_body
from voicegw.asgi.context import RequestContext
from voicegw.asgi.webhook import MAX_BODY_BYTES, Webhook, parse_call_sid, require_content_type
from voicegw.calls.server import CallServer
from voicegw.errors import BadRequest, Forbidden, TooManyRequests
from voicegw.platforms.conversation_relay.codec import NUMBER
from voicegw.platforms.twilio import ticket, twiml
from voicegw.platforms.twilio.signature import algorithm, signed_url_candidates, verify_twilio_signature
from voicegw.security.authenticator import require_loopback
from voicegw.telemetry.turn_log import TurnLog
from voicegw.wire.json import loads

FORM = b"application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class VoiceWebhookOptions:
    """How Twilio's calls are answered.

    `public_url` is the address by which Twilio reaches us, that of the request if empty. `attributes`,
    `languages` and `parameters` go into the TwiML. `busy` is said in `language` when there is no room.
    `transfers`: the agent may have a call put through. `token` and `signing_key` are Twilio's secrets for
    the two kinds of signatures, "" if there is none.
    """

    busy: str
    language: str
    public_url: str = ""
    attributes: Mapping[str, str | bool] = field(default_factory=dict)
    languages: Sequence[str] = ()
    parameters: Mapping[str, str] = field(default_factory=dict)
    transfers: bool = False
    token: str = field(default="", repr=False)
    signing_key: str = field(default="", repr=False)

    @property
    def secret(self) -> str:
        """What seals tickets; "" where nothing is to be proven."""
        return self.token or self.signing_key


def twilio_webhooks(
    welcome: VoiceWebhookOptions, floor: CallServer, journal: TurnLog, now: Callable[[], float] = time.time
) -> dict[str, ASGIApp]:
    """Twilio's web hooks by path. `now` is the time of day in seconds since 1970."""
    twilio = TwilioWebhooks(welcome, floor, journal, now)
    return {
        "/twilio/voice": Webhook(twilio.voice, journal),
        "/twilio/action": Webhook(twilio.action, journal),
    }


class TwilioWebhooks:
    """Answers Twilio, in TwiML."""

    def __init__(
        self, welcome: VoiceWebhookOptions, floor: CallServer, journal: TurnLog, now: Callable[[], float]
    ) -> None:
        self.options = welcome
        self.call_server = floor
        self.turn_log = journal
        self.now = now

    async def voice(self, scope: Scope, receive: Receive) -> Response:
        """A call comes in: connect it to our websocket, or say that nobody has time."""
        fields = await self._form(scope, receive)
        call = parse_call_sid(fields.get("CallSid"))
        welcome = self.options
        if not self.call_server.has_room("twilio"):
            visit: RequestContext = scope["voicegw"]
            self.turn_log.refusal(TooManyRequests("Too many calls at once."), visit.id, visit.client)
            return _xml(twiml.busy(welcome.busy, welcome.language))
        parameters = dict(welcome.parameters)
        if welcome.secret:
            parameters[ticket.PARAMETER] = ticket.issue(welcome.secret, call, self.now())
        base = self._base(scope)
        return _xml(
            twiml.connect(
                f"ws{base.removeprefix('http')}/twilio/relay",
                action=f"{base}/twilio/action",
                attributes=welcome.attributes,
                languages=welcome.languages,
                parameters=parameters,
            )
        )

    async def action(self, scope: Scope, receive: Receive) -> Response:
        """The session is over: put the call through if the agent said so, else it ends."""
        fields = await self._form(scope, receive)
        self.call_server.call_ended("twilio", parse_call_sid(fields.get("CallSid")))
        number = transfer_number(fields.get("HandoffData", "")) if self.options.transfers else None
        return _xml(twiml.empty_response() if number is None else twiml.dial(number))

    async def _form(self, scope: Scope, receive: Receive) -> dict[str, str]:
        """The fields of a request that is Twilio's. Raises `RequestError`."""
        headers = dict(scope["headers"])
        signed = bool(self.options.secret)
        if not signed:
            require_loopback(scope)
        elif b"x-twilio-signature" not in headers:
            raise Forbidden("The signature is missing.")
        require_content_type(FORM, headers)
        pairs = parse_form(await read_body(scope, receive, MAX_BODY_BYTES))
        if signed and not self._signed(scope, headers, pairs):
            raise Forbidden("The signature is wrong.")
        return dict(pairs)

    def _signed(self, scope: Scope, headers: Mapping[bytes, bytes], pairs: list[tuple[str, str]]) -> bool:
        settings = headers.get(b"x-twilio-webhooks-signature-settings", b"").decode("latin-1")
        secret = self.options.token if algorithm(settings) == "HMAC_SHA1" else self.options.signing_key
        scheme, _, host = self._base(scope).partition("://")
        query = f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else ""
        found = signed_url_candidates(scheme, host, scope["raw_path"], b"", websocket=False)
        urls = [url + query for url, _ in found]  # of a POST, the query stays in the address
        return verify_twilio_signature(
            headers[b"x-twilio-signature"].decode("latin-1"), settings, urls, pairs, secret
        )

    def _base(self, scope: Scope) -> str:
        """How Twilio calls us, without a path. Somebody else's Host header fits no signature of Twilio's."""
        if self.options.public_url:
            return self.options.public_url
        host = next((value for name, value in scope["headers"] if name == b"host"), b"")
        return f"{scope['scheme']}://{host.decode('latin-1')}"


def _xml(document: bytes) -> Response:
    return Response(document, media_type="text/xml")


MAX_FORM_FIELDS = 500
"""Most fields of a form; Twilio sends a few dozen."""


def parse_form(body: bytes) -> list[tuple[str, str]]:
    """The fields of a form as pairs, in order. Raises `BadRequest`."""
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


def transfer_number(handoff: str) -> str | None:
    """The number that the caller is to be put through to, out of what our codec left for this moment."""
    try:
        data = loads(handoff.encode())
    except ValueError:
        return None
    match data:
        case {"reasonCode": "transfer_call", "number": str(number)} if NUMBER.fullmatch(number):
            return number
    return None
