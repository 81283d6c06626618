"""Twilio's ConversationRelay: where its calls arrive, and its webhooks."""

from __future__ import annotations

import logging

from starlette.types import ASGIApp

from voicegw.calls.codec import CallStarted
from voicegw.calls.endpoint import CallEndpoint
from voicegw.calls.server import CallServer
from voicegw.platforms.context import PlatformContext, PlatformKind
from voicegw.platforms.conversation_relay.codec import RelayCodec
from voicegw.platforms.twilio import ticket
from voicegw.platforms.twilio.handshake import TwilioSignatureAuth
from voicegw.platforms.twilio.settings import TwilioSettings
from voicegw.platforms.twilio.webhooks import VoiceWebhookOptions, twilio_webhooks
from voicegw.telemetry.turn_log import TurnLog

log = logging.getLogger("voicegw.error")


def _endpoint(table: TwilioSettings, context: PlatformContext) -> CallEndpoint:
    token, signing_key = _secrets(table, context)
    secret = token or signing_key

    def believe(opened: CallStarted) -> bool:
        """Did the call come by way of our webhook, less than the ticket's time ago?"""
        return ticket.verify(secret, opened.ticket, opened.call, context.now())

    return CallEndpoint(
        "twilio",
        context.profile("twilio", table, table.actions, speculate=table.partial == "speculate"),
        TwilioSignatureAuth(context.public_url, token, signing_key),
        lambda call, route: RelayCodec("twilio", ticket_parameter=ticket.PARAMETER),
        believe if secret and table.tickets else lambda opened: True,
        context.share(table.concurrent_calls),
    )


def _webhooks(
    table: TwilioSettings, context: PlatformContext, floor: CallServer, journal: TurnLog
) -> dict[str, ASGIApp]:
    token, signing_key = _secrets(table, context)
    welcome = VoiceWebhookOptions(
        busy=context.agent_for(table).phrases_in(table.language).busy,
        language=table.language,
        public_url=context.public_url,
        attributes=table.relay(),
        languages=table.languages,
        parameters=table.parameters,
        transfers="transfer_call" in table.actions,
        token=token,
        signing_key=signing_key,
    )
    return twilio_webhooks(welcome, floor, journal, context.now)


def _secrets(table: TwilioSettings, context: PlatformContext) -> tuple[str, str]:
    return context.secret(table.auth_token_env), context.secret(table.signing_key_env)


TWILIO = PlatformKind(
    "twilio", TwilioSettings, "Calls by Twilio's ConversationRelay; none if left out.", _endpoint, _webhooks
)
