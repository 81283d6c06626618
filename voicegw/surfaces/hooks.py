"""The web hooks of voice platforms: a call comes in, a call is over. Every request proves whose it is."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from voicegw.errors import BadRequest, Busy, Forbidden, Refused, VoicegwError, WrongMethod
from voicegw.guard import Door, Keys, loopback
from voicegw.journal import Journal
from voicegw.surfaces.http import refusal
from voicegw.surfaces.intake import read_body
from voicegw.surfaces.order import Visit
from voicegw.wire import hook, ticket, twiml
from voicegw.wire.signatures import algorithm, handshake_urls, retell_signed, twilio_signed

log = logging.getLogger("voicegw.run")

Respond: TypeAlias = Callable[[Scope, Receive], Awaitable[Response]]

LARGEST = 65_536
"""Bytes of a body; what platforms send has a few thousand."""
FORM = b"application/x-www-form-urlencoded"
JSON = b"application/json"


class Floor(Protocol):
    """Where calls take place."""

    def room(self, platform: str) -> bool:
        """Is there room for one more call?"""
        ...

    def ended(self, platform: str, call: str) -> None:
        """The platform says that this call is over; it may say so twice, or of calls that nobody knows."""
        ...


@dataclass(frozen=True, slots=True)
class Welcome:
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


def twilio_hooks(
    welcome: Welcome, floor: Floor, journal: Journal, now: Callable[[], float] = time.time
) -> dict[str, ASGIApp]:
    """Twilio's web hooks by path. `now` is the time of day in seconds since 1970."""
    twilio = Twilio(welcome, floor, journal, now)
    return {
        "/twilio/voice": Hook(twilio.voice, journal),
        "/twilio/action": Hook(twilio.action, journal),
    }


def retell_hooks(
    key: str, floor: Floor, journal: Journal, now: Callable[[], float] = time.time
) -> dict[str, ASGIApp]:
    """Retell's web hook by path. `key` is the API key, "" if there is none; `now` as for Twilio's."""
    return {"/retell/webhook": Hook(Retell(key, floor, now).event, journal)}


def admit_local(scope: Scope) -> None:
    """Let in who may come without any secret: programs on this machine. Raises `Forbidden`.

    The house may have keys and listen everywhere; so, unlike at the door, the peer's address counts too.
    """
    Door(Keys()).admit(scope["headers"])
    if not loopback((scope.get("client") or ("",))[0]):
        raise Forbidden("Without a secret of the platform, only this machine may call.")


class Hook:
    """One web hook as a bare ASGI application behind the entrance."""

    def __init__(self, respond: Respond, journal: Journal) -> None:
        self.respond = respond
        self.journal = journal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        visit: Visit = scope["voicegw"]
        try:
            if scope["method"] != "POST":
                raise WrongMethod("Use POST.")
            response = await self.respond(scope, receive)
            response.headers["x-request-id"] = visit.id
        except Refused as failure:
            self.journal.refusal(failure, visit.id, visit.client)
            response = refusal(failure, visit.id)
        except Exception:
            log.exception("request %s failed", visit.id)
            response = refusal(VoicegwError(), visit.id)
        await response(scope, receive, send)


class Twilio:
    """Answers Twilio, in TwiML."""

    def __init__(self, welcome: Welcome, floor: Floor, journal: Journal, now: Callable[[], float]) -> None:
        self.welcome = welcome
        self.floor = floor
        self.journal = journal
        self.now = now

    async def voice(self, scope: Scope, receive: Receive) -> Response:
        """A call comes in: connect it to our websocket, or say that nobody has time."""
        form = await self._form(scope, receive)
        call = hook.named(form.get("CallSid"))
        welcome = self.welcome
        if not self.floor.room("twilio"):
            visit: Visit = scope["voicegw"]
            self.journal.refusal(Busy("Too many calls at once."), visit.id, visit.client)
            return _xml(twiml.busy(welcome.busy, welcome.language))
        parameters = dict(welcome.parameters)
        if welcome.secret:
            parameters[ticket.PARAMETER] = ticket.sign(welcome.secret, call, self.now())
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
        form = await self._form(scope, receive)
        self.floor.ended("twilio", hook.named(form.get("CallSid")))
        number = hook.transfer(form.get("HandoffData", "")) if self.welcome.transfers else None
        return _xml(twiml.nothing() if number is None else twiml.dial(number))

    async def _form(self, scope: Scope, receive: Receive) -> dict[str, str]:
        """The fields of a request that is Twilio's. Raises `Refused`."""
        headers = dict(scope["headers"])
        signed = bool(self.welcome.secret)
        if not signed:
            admit_local(scope)
        elif b"x-twilio-signature" not in headers:
            raise Forbidden("The signature is missing.")
        _must_be(FORM, headers)
        pairs = hook.form(await read_body(scope, receive, LARGEST))
        if signed and not self._signed(scope, headers, pairs):
            raise Forbidden("The signature is wrong.")
        return dict(pairs)

    def _signed(self, scope: Scope, headers: Mapping[bytes, bytes], pairs: list[tuple[str, str]]) -> bool:
        settings = headers.get(b"x-twilio-webhooks-signature-settings", b"").decode("latin-1")
        secret = self.welcome.token if algorithm(settings) == "HMAC_SHA1" else self.welcome.signing_key
        scheme, _, host = self._base(scope).partition("://")
        query = f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else ""
        found = handshake_urls(scheme, host, scope["raw_path"], b"", websocket=False)
        urls = [url + query for url, _ in found]  # of a POST, the query stays in the address
        return twilio_signed(headers[b"x-twilio-signature"].decode("latin-1"), settings, urls, pairs, secret)

    def _base(self, scope: Scope) -> str:
        """How Twilio calls us, without a path. Somebody else's Host header fits no signature of Twilio's."""
        if self.welcome.public_url:
            return self.welcome.public_url
        host = next((value for name, value in scope["headers"] if name == b"host"), b"")
        return f"{scope['scheme']}://{host.decode('latin-1')}"


class Retell:
    """Hears from Retell how calls went."""

    def __init__(self, key: str, floor: Floor, now: Callable[[], float]) -> None:
        self.key = key
        self.floor = floor
        self.now = now

    async def event(self, scope: Scope, receive: Receive) -> Response:
        """Something happened to a call; of interest is only that it ended."""
        call = hook.ended(await self._body(scope, receive))
        if call is not None:
            self.floor.ended("retell", call)
        return Response(status_code=204)

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        """The raw body of a request that is Retell's. Raises `Refused`."""
        headers = dict(scope["headers"])
        signature = headers.get(b"x-retell-signature", b"").decode("latin-1")
        if not self.key:
            admit_local(scope)
        elif not signature:
            raise Forbidden("The signature is missing.")
        _must_be(JSON, headers)
        body = await read_body(scope, receive, LARGEST)
        if self.key and not retell_signed(signature, body, self.key, int(self.now() * 1000)):
            raise Forbidden("The signature is wrong.")
        return body


def _xml(document: bytes) -> Response:
    return Response(document, media_type="text/xml")


def _must_be(wanted: bytes, headers: Mapping[bytes, bytes]) -> None:
    kind, _, _ = headers.get(b"content-type", b"").partition(b";")
    if kind.strip().lower() != wanted:
        raise BadRequest(f"The content type must be {wanted.decode()}.")
