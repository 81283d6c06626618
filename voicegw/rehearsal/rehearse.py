"""A whole rehearsal: the platform, its caller, the call, and what is to be told of it."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from voicegw.errors import ConfigError
from voicegw.guard import loopback
from voicegw.rehearsal import report
from voicegw.rehearsal.call import Call
from voicegw.rehearsal.caller import Caller
from voicegw.rehearsal.checks import Check, Verdict, verdicts
from voicegw.rehearsal.elevenlabs import ElevenLabs
from voicegw.rehearsal.post import Exchange
from voicegw.rehearsal.poster import Poster
from voicegw.rehearsal.posting import Posting
from voicegw.rehearsal.realtime import Realtime
from voicegw.rehearsal.relay import Relay
from voicegw.rehearsal.retell import Retell
from voicegw.rehearsal.script import Script
from voicegw.rehearsal.sockets import dial
from voicegw.rehearsal.speech_engine import SpeechEngine
from voicegw.rehearsal.tape import Tape
from voicegw.rehearsal.vapi import Vapi


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
PROVING = ("twilio", "speech-engine", "realtime", *POSTERS)
"""Those whose secret is not a part of the address."""


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """What came of a rehearsal."""

    platform: str
    address: str
    tape: Tape
    verdicts: tuple[Verdict, ...]

    @property
    def good(self) -> bool:
        return report.good(self.tape, self.verdicts)

    def as_json(self) -> dict[str, Any]:
        return report.as_json(self.platform, self.address, self.tape, self.verdicts)

    def as_text(self) -> str:
        return report.as_text(self.platform, self.address, self.tape, self.verdicts)


def rehearse(
    platform: str, url: str, script: Script, how: Setting = SIMPLE, *, anywhere: bool = False
) -> Rehearsed:
    """Play a script as this platform against the gateway at `url`, and judge what comes.

    Raises `ConfigError` for an address that makes no sense, or that is not on this machine unless `anywhere`.
    """
    shown = checked(url, sockets=platform in CALLERS, anywhere=anywhere)
    if platform not in PROVING:
        shown = "/".join((*shown.split("/")[:3], "…"))  # the secret is a part of the path
    checks, tape = asyncio.run(_play(platform, url, script, how))
    return Rehearsed(platform, shown, tape, tuple(verdicts(checks, tape, script)))


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
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
