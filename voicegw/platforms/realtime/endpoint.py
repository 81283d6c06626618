"""Builds the websocket endpoint of the Realtime protocol."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence

from voicegw.calls.codec import CallCodec
from voicegw.calls.endpoint import CallEndpoint
from voicegw.calls.profile import CallProfile
from voicegw.platforms.realtime.codec import RealtimeCodec
from voicegw.platforms.realtime.handshake import PATHS, SUBPROTOCOL, RealtimeHandshake
from voicegw.platforms.realtime.settings import RealtimeSettings
from voicegw.security.authenticator import Authenticator
from voicegw.security.keys import ANONYMOUS, ApiKey
from voicegw.turns.served_agent import ServedAgent


def build_realtime_endpoint(
    settings: RealtimeSettings,
    default_agent: ServedAgent,
    resolve_agent: Callable[[str, ApiKey], ServedAgent],
    authenticator: Authenticator,
    *,
    call_headers: Sequence[str],
    max_calls: int | None,
) -> CallEndpoint:
    """Return the endpoint for programs with an API key.

    `resolve_agent` returns the agent for the name of a model and a key, and raises `ModelNotFound`;
    `default_agent` answers for other names. `call_headers` are further headers that may hold the id of a
    call, in lower case. `max_calls` limits its calls in this process, None for the limit of all calls alone.
    """
    handshake = RealtimeHandshake(authenticator, resolve_agent, settings.language, call_headers)

    def make_codec(call_id: str | None, profile: CallProfile) -> CallCodec:
        return RealtimeCodec(
            call_id or "",
            profile.agent.name,
            prefix=secrets.token_hex(8),
            chars_per_second=settings.chars_per_second,
        )

    return CallEndpoint(
        "realtime",
        CallProfile(ANONYMOUS, default_agent),
        handshake.authenticate,
        make_codec,
        max_calls=max_calls,
        choose_profile=handshake.choose_profile,
        path_prefixes=tuple({path.split("/")[1] for path in PATHS}),
        subprotocol=SUBPROTOCOL,
        refuses_before_upgrade=True,
    )
