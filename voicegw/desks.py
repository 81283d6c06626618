"""From the configuration to desks: where the platforms' calls arrive, and what their web hooks do."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Mapping

from starlette.types import ASGIApp

from voicegw.actions import offered
from voicegw.call_tables import ElevenLabs, Greeting, Platform, Retell, Telnyx, Twilio
from voicegw.config import Config
from voicegw.dialects import DIALECTS
from voicegw.guard import ANONYMOUS, Door, Key
from voicegw.journal import Journal
from voicegw.surfaces.counter import PATHS, PROTOCOL, Counter
from voicegw.surfaces.floor import Desk, Floor
from voicegw.surfaces.gates import SecretGate, SignedGate, TokenGate
from voicegw.surfaces.hooks import Welcome, retell_hooks, twilio_hooks
from voicegw.surfaces.route import Route
from voicegw.switchboard import Line, Switchboard
from voicegw.wire import relay, retell, speech_engine, ticket
from voicegw.wire.phone import CallCodec, Opened
from voicegw.wire.realtime import Realtime

log = logging.getLogger("voicegw.run")

UNPROVEN = "%s is not configured: calls of [%s] are taken from this machine only"
UNSIGNED = "%s is not configured: web hooks of [%s] are taken from this machine only"


def make_desks(
    settings: Config, lines: Mapping[str, Line], now: Callable[[], float] = time.time
) -> dict[str, Desk]:
    """A desk for each platform in the file. `now` is the time of day in seconds since 1970."""
    for name, platform in settings.platforms.items():
        if not (platform.proven or settings.is_demo):
            log.warning(UNPROVEN, platform.proof[0], name)
    desks = []
    if (twilio := settings.twilio) is not None:
        desks.append(_twilio(twilio, settings, lines, now))
    if (telnyx := settings.telnyx) is not None:
        desks.append(_telnyx(telnyx, settings, lines))
    if (table := settings.retell) is not None:
        desks.append(_retell(table, settings, lines))
    if (engine := settings.elevenlabs) is not None:
        desks.append(_elevenlabs(engine, settings, lines, now))
    return {desk.name: desk for desk in desks}


def make_counter(settings: Config, board: Switchboard, door: Door) -> Desk:
    """The desk for programs that hold a key of the house."""
    table = settings.realtime
    counter = Counter(door, board.line, table.language, [name.lower() for name in settings.calls.headers])

    def codec(call: str | None, route: Route) -> CallCodec:
        return Realtime(call or "", route.line.name, prefix=secrets.token_hex(8), pace=table.pace)

    return Desk(
        "realtime",
        Route(ANONYMOUS, board.lines[settings.default_agent]),
        counter.admit,
        codec,
        most=_most(table.concurrent_calls or max(1, settings.limits.concurrent_calls // 2), settings),
        choose=counter.route,
        paths=tuple({path.split("/")[1] for path in PATHS}),
        protocol=PROTOCOL,
        strict=True,
    )


def make_hooks(
    settings: Config, floor: Floor, journal: Journal, now: Callable[[], float] = time.time
) -> dict[str, ASGIApp]:
    """The web hooks of the platforms in the file, by path."""
    hooks: dict[str, ASGIApp] = {}
    if (twilio := settings.twilio) is not None:
        if not (twilio.proven or settings.is_demo):
            log.warning(UNSIGNED, twilio.proof[0], "twilio")
        hooks |= twilio_hooks(_welcome(twilio, settings, floor), floor, journal, now)
    if (table := settings.retell) is not None:
        if not (table.api_key_env or settings.is_demo):
            log.warning(UNSIGNED, "api_key_env", "retell")
        hooks |= retell_hooks(_secret(settings, table.api_key_env), floor, journal, now)
    return hooks


def _twilio(table: Twilio, settings: Config, lines: Mapping[str, Line], now: Callable[[], float]) -> Desk:
    token, signing_key = _secrets(table, settings)
    secret = token or signing_key

    def believe(opened: Opened) -> bool:
        """Did the call come by way of our web hook, a moment ago?"""
        match opened.facts:
            case {"customParameters": {ticket.PARAMETER: str(shown)}}:
                return ticket.valid(secret, shown, opened.call, now())
        return False

    return Desk(
        "twilio",
        _route("twilio", table, table.actions, settings, lines, speculate=table.partial == "speculate"),
        SignedGate(settings.server.public_url or "", token, signing_key),
        lambda call, route: relay.Relay("twilio"),
        believe if secret and table.tickets else lambda opened: True,
        _most(table.concurrent_calls, settings),
    )


def _telnyx(table: Telnyx, settings: Config, lines: Mapping[str, Line]) -> Desk:
    return Desk(
        "telnyx",
        _route("telnyx", table, table.actions, settings, lines, speculate=table.partial == "speculate"),
        SecretGate(False, _secret(settings, table.token_env)),
        lambda call, route: relay.Relay("telnyx"),
        most=_most(table.concurrent_calls, settings),
    )


def _retell(table: Retell, settings: Config, lines: Mapping[str, Line]) -> Desk:
    return Desk(
        "retell",
        _route("retell", table, table.actions, settings, lines),
        SecretGate(True, _secret(settings, table.secret_env)),
        lambda call, route: retell.Retell(call or ""),
        most=_most(table.concurrent_calls, settings),
    )


def _elevenlabs(
    table: ElevenLabs, settings: Config, lines: Mapping[str, Line], now: Callable[[], float]
) -> Desk:
    return Desk(
        "elevenlabs",
        Route(
            Key("@elevenlabs", b""),
            _line(table, settings, lines),
            table.language,
            dialect=DIALECTS["elevenlabs"],
        ),
        TokenGate(_secret(settings, table.api_key_env), now),
        lambda call, route: speech_engine.SpeechEngine(),
        most=_most(table.concurrent_calls, settings),
    )


def _route(
    name: str,
    table: Greeting,
    actions: tuple[str, ...],
    settings: Config,
    lines: Mapping[str, Line],
    *,
    speculate: bool = False,
) -> Route:
    """The platform's own key opens its agent; no key of the file can have such a name."""
    line = _line(table, settings, lines)
    return Route(Key(f"@{name}", b""), line, table.language, table.greeting, offered(actions), speculate)


def _line(table: Platform, settings: Config, lines: Mapping[str, Line]) -> Line:
    return lines[table.agent or settings.default_agent]


def _most(most: int | None, settings: Config) -> int | None:
    """This worker's share of the platform's calls, at least one."""
    return None if most is None else max(1, most // settings.server.workers)


def _welcome(table: Twilio, settings: Config, floor: Floor) -> Welcome:
    token, signing_key = _secrets(table, settings)
    return Welcome(
        busy=floor.desks["twilio"].route.line.words(table.language).busy,
        language=table.language,
        public_url=settings.server.public_url or "",
        attributes=table.relay(),
        languages=table.languages,
        parameters=table.parameters,
        transfers="transfer_call" in table.actions,
        token=token,
        signing_key=signing_key,
    )


def _secrets(table: Twilio, settings: Config) -> tuple[str, str]:
    return _secret(settings, table.auth_token_env), _secret(settings, table.signing_key_env)


def _secret(settings: Config, variable: str | None) -> str:
    return settings.secret(variable) if variable else ""
