"""OpenAI's Realtime protocol: where programs with an API key open calls."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence

from voicegw.calls.codec import CallCodec
from voicegw.calls.endpoint import Desk
from voicegw.calls.profile import Route
from voicegw.platforms.realtime.codec import Realtime as RealtimeCodec
from voicegw.platforms.realtime.handshake import PATHS, PROTOCOL, Counter
from voicegw.platforms.realtime.settings import Realtime
from voicegw.security.authenticator import Door
from voicegw.security.keys import ANONYMOUS, Key
from voicegw.turns.served_agent import Line


def realtime_endpoint(
    table: Realtime,
    default: Line,
    find: Callable[[str, Key], Line],
    door: Door,
    *,
    names: Sequence[str],
    most: int | None,
) -> Desk:
    """Return the endpoint for programs with an API key.

    `find` gives the agent for a model's name and a key, `default` is the one of a model that no agent has.
    `names` are further headers that name a call, in lower case. `most` bounds its calls in this process.
    """
    counter = Counter(door, find, table.language, names)

    def codec(call: str | None, route: Route) -> CallCodec:
        return RealtimeCodec(call or "", route.line.name, prefix=secrets.token_hex(8), pace=table.pace)

    return Desk(
        "realtime",
        Route(ANONYMOUS, default),
        counter.admit,
        codec,
        most=most,
        choose=counter.route,
        paths=tuple({path.split("/")[1] for path in PATHS}),
        protocol=PROTOCOL,
        strict=True,
    )
