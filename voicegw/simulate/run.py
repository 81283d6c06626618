"""One whole simulation: it chooses the platform, runs the call, and evaluates the checks.

The command line is in `voicegw.cli`; the platforms are in `voicegw.simulate.platforms.registry`.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from voicegw.errors import ConfigError
from voicegw.security.addresses import is_loopback
from voicegw.simulate import report
from voicegw.simulate.call_runner import CallRunner
from voicegw.simulate.checks import CheckResult, evaluate_checks
from voicegw.simulate.http_client import HttpSender
from voicegw.simulate.http_platform import SimulatedHttpPlatform
from voicegw.simulate.http_runner import HttpRunner
from voicegw.simulate.platform import SimulatedPlatform, SimulationSetup, WebSocketEntry
from voicegw.simulate.platforms.registry import PLATFORMS
from voicegw.simulate.recording import Recording
from voicegw.simulate.script import CallScript
from voicegw.simulate.websocket import open_socket

DEFAULT_SETUP = SimulationSetup()
PUBLIC_PATH_WORDS = frozenset({"", "ws", "websocket", "api", "v1", "call", "calls", "voice"})
"""Parts of a URL's path that are no secret on any platform."""
MIN_SECRET_CHARS = 4
"""Characters of a secret; a shorter one would hide ordinary words of the report."""


@dataclass(frozen=True, slots=True)
class SimulationResult:
    """The result of a simulation of `platform` against the gateway at `address`.

    A gateway may send the platform's `secrets` back; no report contains them.
    """

    platform: str
    address: str
    recording: Recording
    """The call, as it was recorded."""
    check_results: tuple[CheckResult, ...]
    """The results of the platform's checks."""
    secrets: tuple[str, ...] = field(default=(), repr=False)

    @property
    def has_passed(self) -> bool:
        """Did the simulation come to its end, without a broken check?"""
        return report.has_passed(self.recording, self.check_results)

    def as_json(self) -> dict[str, Any]:
        """Return the report as a JSON object, without the secrets."""
        found = report.as_json(self.platform, self.address, self.recording, self.check_results)
        return dict(redact(found, self.secrets))

    def as_text(self) -> str:
        """Return the report for people, without the secrets."""
        found = report.as_text(self.platform, self.address, self.recording, self.check_results)
        return str(redact(found, self.secrets))


def simulate(
    platform: str,
    url: str,
    script: CallScript,
    setup: SimulationSetup = DEFAULT_SETUP,
    *,
    allow_remote: bool = False,
) -> SimulationResult:
    """Run a script as `platform` against the gateway at `url`, and evaluate the platform's checks.

    `url` is the one that an operator enters at the platform; it must be on this machine unless
    `allow_remote`.

    Raises `ConfigError` for a URL that is invalid or not allowed, for a `setup.secret` on a platform that has
    its secret in the URL, and for a script without any step that the platform has.
    """
    entry = PLATFORMS[platform]
    shown_url = check_url(url, is_websocket=isinstance(entry, WebSocketEntry), allow_remote=allow_remote)
    secrets = {setup.secret}
    if entry.secret_in_url:
        if setup.secret:
            raise ConfigError(f"--key-env: on {platform} the secret is a part of the URL; put it there only")
        shown_url = mask_path(shown_url, entry.public_path_words)
        secrets |= set(url.split("/")) - set(shown_url.split("/"))
    simulated: SimulatedPlatform | SimulatedHttpPlatform
    if isinstance(entry, WebSocketEntry):
        simulated = entry.make(script, setup, time.time())
    else:
        simulated = entry.make(script, url, setup)
    if all(step.kind in simulated.traits.unsupported_steps for step in script.turns):
        raise ConfigError(f"no step of this script exists on {platform}")
    try_forged = bool(setup.secret)
    if isinstance(simulated, SimulatedHttpPlatform):
        recording = asyncio.run(_run_http(simulated, url, script, try_forged))
    else:
        recording = asyncio.run(_run_websocket(simulated, url, script, try_forged))
    results = tuple(evaluate_checks(simulated.checks, recording, script))
    long_secrets = tuple(secret for secret in secrets if len(secret) >= MIN_SECRET_CHARS)
    return SimulationResult(platform, shown_url, recording, results, long_secrets)


async def _run_websocket(
    platform: SimulatedPlatform, url: str, script: CallScript, try_forged: bool
) -> Recording:
    socket_url = re.sub("^http", "ws", url)
    return await CallRunner(platform, script, socket_url, open_socket, try_forged=try_forged).run()


async def _run_http(
    platform: SimulatedHttpPlatform, url: str, script: CallScript, try_wrong_key: bool
) -> Recording:
    sender = HttpSender(url, connect_timeout=script.patience.connect)
    try:
        return await HttpRunner(platform, script, sender, try_wrong_key=try_wrong_key).run()
    finally:
        await sender.aclose()


def redact(value: Any, secrets: Collection[str]) -> Any:
    """Return the same JSON value, with each of these secrets replaced by "…" in all its texts."""
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, "…")
    elif isinstance(value, dict):
        return {key: redact(inner, secrets) for key, inner in value.items()}
    elif isinstance(value, list):
        return [redact(inner, secrets) for inner in value]
    return value


def mask_path(url: str, public_words: Collection[str] = ()) -> str:
    """Return the URL with "…" for each part of its path that may be a secret.

    Only `PUBLIC_PATH_WORDS` and `public_words` stay.
    """
    origin, path = url.split("/")[:3], url.split("/")[3:]
    return "/".join(
        (*origin, *(part if part in PUBLIC_PATH_WORDS or part in public_words else "…" for part in path))
    )


def check_url(url: str, *, is_websocket: bool, allow_remote: bool) -> str:
    """Return the URL without its query, which may hold a secret.

    Raises `ConfigError` if the URL is invalid, or on another machine without `allow_remote`.
    """
    schemes = ("ws", "wss", "http", "https") if is_websocket else ("http", "https")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(f"the URL is invalid: {error}") from None
    if parts.scheme not in schemes or not host:
        raise ConfigError(f"the URL must begin with one of {', '.join(f'{name}://' for name in schemes)}")
    if not (allow_remote or is_loopback(host)):
        raise ConfigError(f"{host} is another machine: add --anywhere to call it")
    if "@" in parts.netloc or parts.fragment:
        raise ConfigError("the URL must not contain a user, a password or a fragment")
    return f"{parts.scheme}://{parts.netloc}{parts.path}"
