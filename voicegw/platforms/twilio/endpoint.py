"""Twilio's ConversationRelay: where its calls arrive, and its webhooks."""

from __future__ import annotations

import logging

from starlette.types import ASGIApp

from voicegw.calls.codec import Opened
from voicegw.calls.endpoint import Desk
from voicegw.calls.server import Floor
from voicegw.platforms.context import PlatformContext, PlatformKind
from voicegw.platforms.conversation_relay.codec import Relay
from voicegw.platforms.twilio import ticket
from voicegw.platforms.twilio.handshake import SignedGate
from voicegw.platforms.twilio.settings import Twilio
from voicegw.platforms.twilio.webhooks import Welcome, twilio_hooks
from voicegw.telemetry.turn_log import Journal

log = logging.getLogger("voicegw.error")


def _endpoint(table: Twilio, context: PlatformContext) -> Desk:
    token, signing_key = _secrets(table, context)
    secret = token or signing_key

    def believe(opened: Opened) -> bool:
        """Did the call come by way of our webhook, less than the ticket's time ago?"""
        return ticket.valid(secret, opened.ticket, opened.call, context.now())

    return Desk(
        "twilio",
        context.route("twilio", table, table.actions, speculate=table.partial == "speculate"),
        SignedGate(context.public_url, token, signing_key),
        lambda call, route: Relay("twilio", ticket_parameter=ticket.PARAMETER),
        believe if secret and table.tickets else lambda opened: True,
        context.most(table.concurrent_calls),
    )


def _webhooks(table: Twilio, context: PlatformContext, floor: Floor, journal: Journal) -> dict[str, ASGIApp]:
    token, signing_key = _secrets(table, context)
    welcome = Welcome(
        busy=context.line(table).words(table.language).busy,
        language=table.language,
        public_url=context.public_url,
        attributes=table.relay(),
        languages=table.languages,
        parameters=table.parameters,
        transfers="transfer_call" in table.actions,
        token=token,
        signing_key=signing_key,
    )
    return twilio_hooks(welcome, floor, journal, context.now)


def _secrets(table: Twilio, context: PlatformContext) -> tuple[str, str]:
    return context.secret(table.auth_token_env), context.secret(table.signing_key_env)


TWILIO = PlatformKind(
    "twilio", Twilio, "Calls by Twilio's ConversationRelay; none if left out.", _endpoint, _webhooks
)
