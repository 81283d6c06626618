"""A whole rehearsal: the platform, its caller, the call, and what is to be told of it."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from voicegw.errors import ConfigError
from voicegw.security.addresses import loopback
from voicegw.simulate import report
from voicegw.simulate.call_runner import Call
from voicegw.simulate.checks import Check, Verdict, verdicts
from voicegw.simulate.http_client import Posting
from voicegw.simulate.http_platform import Poster
from voicegw.simulate.http_runner import Exchange
from voicegw.simulate.platform import Caller, Ways
from voicegw.simulate.platforms.conversation_relay import Relay
from voicegw.simulate.platforms.elevenlabs import ElevenLabs
from voicegw.simulate.platforms.realtime.caller import Realtime
from voicegw.simulate.platforms.retell import Retell
from voicegw.simulate.platforms.speech_engine import SpeechEngine
from voicegw.simulate.platforms.vapi import Vapi
from voicegw.simulate.recording import Tape
from voicegw.simulate.script import Script
from voicegw.simulate.websocket import dial


@dataclass(frozen=True, slots=True)
class Setting:
    """How the platform is set up. `secret` proves that it is the platform, `model` is the agent that it asks
    for, `public` the address that it signs where that is not the one which is called.
    """

    secret: str = field(default="", repr=False)
    model: str = ""
    public: str = ""


SIMPLE = Setting()
MakeCaller: TypeAlias = Callable[[Script, Setting], Caller]
MakePoster: TypeAlias = Callable[[Script, str, Setting], Poster]
AGENT = "agent"
"""The model that is asked for where none is named."""

CALLERS: Mapping[str, MakeCaller] = {
    "twilio": lambda script, how: Relay(script, how.secret, public=how.public, now=time.time()),
    "telnyx": lambda script, how: Relay(script, how.secret, flavour="telnyx", now=time.time()),
    "retell": lambda script, how: Retell(script, how.secret, now=time.time()),
    "speech-engine": lambda script, how: SpeechEngine(script, how.secret, now=time.time()),
    "realtime": lambda script, how: Realtime(script, how.secret, model=how.model),
}
POSTERS: Mapping[str, MakePoster] = {
    "elevenlabs": lambda script, url, how: ElevenLabs(
        script, url, secret=how.secret, model=how.model or AGENT
    ),
    "vapi": lambda script, url, how: Vapi(script, url, secret=how.secret, model=how.model or AGENT),
}
PLATFORMS = (*CALLERS, *POSTERS)
WAYS: Mapping[str, Ways] = {
    "twilio": Relay.ways,
    "telnyx": Relay.ways,
    "retell": Retell.ways,
    "speech-engine": SpeechEngine.ways,
    "realtime": Realtime.ways,
    "elevenlabs": ElevenLabs.ways,
    "vapi": Vapi.ways,
}
USUAL = frozenset(
    {
        "",
        "telnyx",
        "retell",
        "relay",
        "ws",
        "websocket",
        "llm-websocket",
        "api",
        "v1",
        "call",
        "calls",
        "voice",
    }
)
"""Parts of a path that are nobody's secret."""
PROVING = ("twilio", "speech-engine", "realtime", *POSTERS)
"""Those whose secret is not a part of the address."""


SECRET = 4
"""Characters from which on something counts as a secret."""


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """What came of a rehearsal. What a gateway sent may hold our `secrets`; they are never told."""

    platform: str
    address: str
    tape: Tape
    verdicts: tuple[Verdict, ...]
    secrets: tuple[str, ...] = field(default=(), repr=False)

    @property
    def good(self) -> bool:
        return report.good(self.tape, self.verdicts)

    def as_json(self) -> dict[str, Any]:
        found = report.as_json(self.platform, self.address, self.tape, self.verdicts)
        return dict(hidden(found, self.secrets))

    def as_text(self) -> str:
        found = report.as_text(self.platform, self.address, self.tape, self.verdicts)
        return str(hidden(found, self.secrets))


def rehearse(
    platform: str, url: str, script: Script, how: Setting = SIMPLE, *, anywhere: bool = False
) -> Rehearsed:
    """Play a script as this platform against the gateway at `url`, and judge what comes.

    Raises `ConfigError` for an address that makes no sense, or that is not on this machine unless `anywhere`,
    for a secret where it is a part of the address, and for a script of which nothing exists on the platform.
    """
    shown = checked(url, sockets=platform in CALLERS, anywhere=anywhere)
    if platform not in PROVING:
        if how.secret:
            raise ConfigError(f"--key-env: on {platform} the secret is a part of the address; put it there")
        shown = masked(shown)
    without = WAYS[platform].without
    if all(step.kind in without for step in script.turns):
        raise ConfigError(f"no step of this script exists on {platform}")
    checks, tape = asyncio.run(_play(platform, url, script, how))
    private = {how.secret, *(set(url.split("/")) - set(shown.split("/")) if platform not in PROVING else ())}
    secrets = tuple(secret for secret in private if len(secret) >= SECRET)
    return Rehearsed(platform, shown, tape, tuple(verdicts(checks, tape, script)), secrets)


async def _play(platform: str, url: str, script: Script, how: Setting) -> tuple[tuple[Check, ...], Tape]:
    proof = bool(how.secret) and platform in PROVING
    if platform in CALLERS:
        caller = CALLERS[platform](script, how)
        socket = re.sub("^http", "ws", url)
        return tuple(caller.checks), await Call(caller, script, socket, dial, proof=proof).play()
    asking = POSTERS[platform](script, url, how)
    post = Posting(url, connect=script.patience.connect)
    try:
        return tuple(asking.checks), await Exchange(asking, script, post, proof=proof).play()
    finally:
        await post.aclose()


def hidden(value: Any, secrets: Collection[str]) -> Any:
    """The same, without these secrets in any of its texts."""
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, "…")
    elif isinstance(value, dict):
        return {key: hidden(inner, secrets) for key, inner in value.items()}
    elif isinstance(value, list):
        return [hidden(inner, secrets) for inner in value]
    return value


def masked(address: str) -> str:
    """The address with what may be the secret in its path hidden: every part that is no usual word."""
    head, path = address.split("/")[:3], address.split("/")[3:]
    return "/".join((*head, *(part if part in USUAL else "…" for part in path)))


def checked(url: str, *, sockets: bool, anywhere: bool) -> str:
    """The address without what may be a secret in it. Raises `ConfigError`."""
    schemes = ("ws", "wss", "http", "https") if sockets else ("http", "https")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(f"this is no address: {error}") from None
    if parts.scheme not in schemes or not host:
        raise ConfigError(f"an address begins with one of {', '.join(f'{name}://' for name in schemes)}")
    if not (anywhere or loopback(host)):
        raise ConfigError(f"{host} is another machine: say --anywhere if you mean it")
    if "@" in parts.netloc or parts.fragment:
        raise ConfigError("an address has no user, password or fragment here")
    return f"{parts.scheme}://{parts.netloc}{parts.path}"
