"""OpenAI's Realtime protocol: where programs with an API key open calls."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence

from voicegw.calls.codec import CallCodec
from voicegw.calls.endpoint import CallEndpoint
from voicegw.calls.profile import CallProfile
from voicegw.platforms.realtime.codec import RealtimeCodec as RealtimeCodec
from voicegw.platforms.realtime.handshake import PATHS, PROTOCOL, RealtimeHandshake
from voicegw.platforms.realtime.settings import RealtimeSettings
from voicegw.security.authenticator import Authenticator
from voicegw.security.keys import ANONYMOUS, ApiKey
from voicegw.turns.served_agent import ServedAgent


def realtime_endpoint(
    table: RealtimeSettings,
    default: ServedAgent,
    find: Callable[[str, ApiKey], ServedAgent],
    door: Authenticator,
    *,
    names: Sequence[str],
    most: int | None,
) -> CallEndpoint:
    """Return the endpoint for programs with an API key.

    `find` gives the agent for a model's name and a key, `default` is the one of a model that no agent has.
    `names` are further headers that name a call, in lower case. `most` bounds its calls in this process.
    """
    counter = RealtimeHandshake(door, find, table.language, names)

    def codec(call: str | None, route: CallProfile) -> CallCodec:
        return RealtimeCodec(call or "", route.agent.name, prefix=secrets.token_hex(8), chars_per_second=table.chars_per_second)

    return CallEndpoint(
        "realtime",
        CallProfile(ANONYMOUS, default),
        counter.admit,
        codec,
        max_calls=most,
        choose_profile=counter.route,
        paths=tuple({path.split("/")[1] for path in PATHS}),
        subprotocol=PROTOCOL,
        refuses_before_upgrade=True,
    )
