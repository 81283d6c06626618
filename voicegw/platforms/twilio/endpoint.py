"""Builds the websocket endpoint and the webhooks of Twilio from its settings."""

from __future__ import annotations

from dataclasses import replace

from starlette.types import ASGIApp

from voicegw.calls.codec import CallStarted
from voicegw.calls.endpoint import CallEndpoint
from voicegw.calls.server import CallServer
from voicegw.platforms.context import PlatformContext, PlatformKind
from voicegw.platforms.conversation_relay.actions import RelayActions
from voicegw.platforms.conversation_relay.codec import RelayCodec
from voicegw.platforms.twilio import ticket
from voicegw.platforms.twilio.form import SignedForms
from voicegw.platforms.twilio.handshake import TwilioSignatureAuth
from voicegw.platforms.twilio.settings import TwilioSettings
from voicegw.platforms.twilio.webhooks import VoiceWebhookOptions, build_twilio_webhooks
from voicegw.telemetry.turn_log import TurnLog


def _build_endpoint(settings: TwilioSettings, context: PlatformContext) -> CallEndpoint:
    auth_token, signing_key = _read_secrets(settings, context)
    ticket_secret = auth_token or signing_key
    languages = (settings.language, *settings.languages)
    possible = RelayActions(languages, settings.transfer_policy(settings.actions))

    def has_valid_ticket(started: CallStarted) -> bool:
        return ticket.verify(ticket_secret, started.ticket, started.call_id, context.now())

    return CallEndpoint(
        "twilio",
        replace(
            context.build_relay_profile("twilio", settings, settings.actions, languages),
            speaks_callers_language=settings.inline_language,
        ),
        TwilioSignatureAuth(context.public_url, auth_token, signing_key),
        lambda call_id, profile: RelayCodec(
            "twilio",
            ticket_parameter=ticket.PARAMETER,
            resumed_parameter=ticket.RESUMED_PARAMETER,
            tags_language=settings.inline_language,
            possible=possible,
        ),
        has_valid_ticket if ticket_secret and settings.tickets else lambda started: True,
        context.worker_share(settings.concurrent_calls),
    )


def _build_webhooks(
    settings: TwilioSettings, context: PlatformContext, call_server: CallServer, turn_log: TurnLog
) -> dict[str, ASGIApp]:
    auth_token, signing_key = _read_secrets(settings, context)
    options = VoiceWebhookOptions(
        phrases=context.agent_for(settings).phrases_in(settings.language),
        language=settings.language,
        forms=SignedForms(context.public_url, auth_token, signing_key),
        attributes=settings.relay_attributes(),
        languages=settings.declared_languages(),
        failover=settings.failover,
        parameters=settings.parameters,
        transfers=settings.transfer_policy(settings.actions),
    )
    return build_twilio_webhooks(options, call_server, turn_log, context.now)


def _read_secrets(settings: TwilioSettings, context: PlatformContext) -> tuple[str, str]:
    """Return the auth token and the signing key, "" for each that is not configured."""
    return context.read_secret(settings.auth_token_env), context.read_secret(settings.signing_key_env)


TWILIO = PlatformKind(
    "twilio",
    TwilioSettings,
    "Calls by Twilio's ConversationRelay; none if left out.",
    _build_endpoint,
    _build_webhooks,
)
"""Twilio, for `voicegw.platforms.registry`."""
