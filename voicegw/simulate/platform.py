"""Platforms that call over a websocket: their side of a call, without any I/O.

Platforms that send HTTP requests are in `voicegw.simulate.http_platform`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from voicegw.simulate.checks import Check
from voicegw.simulate.recording import Observation
from voicegw.simulate.script import CallScript
from voicegw.wire.json import loads

Frame: TypeAlias = str | bytes

CHARS_PER_SECOND = 15.0
"""Speed of speech, to compute the part of an answer that the caller has heard."""


@dataclass(frozen=True, slots=True)
class PlatformTraits:
    """The properties in which platforms differ.

    `unsupported_steps`: the kinds of steps ("say", "press", "silent") that it does not have.
    `stops_playback`: it stops playing an interrupted answer by itself, so late text does no harm.
    `repeats_as_new_request`: a question that it repeats is a new request, with an answer from the start.
    `reports_no_silence`: after an interruption without words it sends nothing, and the agent has to speak.
    `greeting_wait`: seconds before the caller speaks; text that arrives by then is a greeting.
    """

    unsupported_steps: frozenset[str] = frozenset()
    stops_playback: bool = False
    repeats_as_new_request: bool = False
    reports_no_silence: bool = False
    greeting_wait: float = 0.0


NO_DTMF = frozenset({"press"})
"""The `unsupported_steps` of a platform that does not report pressed keys."""


@dataclass(frozen=True, slots=True)
class SimulationSetup:
    """An operator's configuration of the platform.

    `secret` proves to the gateway that the platform calls; "" for none. `model` is the agent that the
    platform asks for; "" for its default. `public_url` is the URL that Twilio signs; "" for the one that is
    called.
    """

    secret: str = field(default="", repr=False)
    model: str = ""
    public_url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryEntry:
    """One platform in `voicegw.simulate.platforms.registry`: its `name`, and the place of its secret.

    `secret_in_url`: the platform has no other proof than a secret part of the URL's path.
    `public_path_words`: parts of the path that are no secret, and stay readable in reports.
    """

    name: str
    secret_in_url: bool = False
    public_path_words: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocketEntry(RegistryEntry):
    """A platform that calls over a websocket. `make` gets the time of day in seconds since 1970."""

    make: Callable[[CallScript, SimulationSetup, float], SimulatedPlatform]


class SimulatedPlatform(Protocol):
    """One platform's side of one call, over any number of sockets.

    It encodes the frames that the platform sends, and decodes the frames that it receives. Turns are numbered
    from 0, in the order of `ask` and `press`.
    """

    name: str
    """The platform's name on the command line."""
    checks: Sequence[Check]
    """The platform's checklist."""
    ping_interval: float | None
    """Seconds between the platform's pings; None if it sends none."""
    traits: PlatformTraits
    """The properties in which it differs from other platforms."""
    may_reply_twice: bool
    """Set before `ask`: after a refused action, the agent may give the newest question a second reply."""

    def build_url(self, url: str) -> str:
        """Return the URL of the socket; `url` is the one that an operator enters at the platform."""
        ...

    def build_headers(self, url: str, *, forged: bool = False) -> Mapping[str, str]:
        """Return the headers of the handshake at `url`; with `forged`, their proof is wrong."""
        ...

    def start(self, *, reconnecting: bool, resend: bool = True) -> Sequence[Frame]:
        """Return the first frames on a new socket.

        With `reconnecting`, the previous socket was lost: unanswered questions are sent again, except without
        `resend` on platforms that may leave them.
        """
        ...

    def encode_partial(self, text: str) -> Sequence[Frame]:
        """Return a partial transcript, which may still change; () if the platform sends none."""
        ...

    def ask(self, text: str | None) -> Sequence[Frame]:
        """Return the next question: the caller said `text`, or, with None, was silent for a while."""
        ...

    def press(self, digits: str) -> Sequence[Frame]:
        """Return the next question: the caller pressed these keys. () if the platform has no DTMF."""
        ...

    def repeat(self) -> Sequence[Frame]:
        """Return the last question once more; () if the platform never repeats one on the same socket."""
        ...

    def interrupt(self, heard_text: str, *, older: bool = False) -> Sequence[Frame]:
        """Return the frames of a barge-in; `heard_text` is the part of the answer that the caller heard.

        With `older`, the barge-in was into the answer before the newest question; () if the platform never
        reports that.
        """
        ...

    def encode_malformed(self) -> Sequence[Frame]:
        """Return malformed frames, which a gateway must ignore."""
        ...

    def ping(self) -> Sequence[Frame]:
        """Return a ping; () if the platform sends none."""
        ...

    def hang_up(self) -> Sequence[Frame]:
        """Return the last frames before the caller hangs up."""
        ...

    def receive(self, frame: Frame) -> Sequence[Observation]:
        """Return the observations in a frame from the gateway. It never raises."""
        ...


def decode_frame(frame: Frame) -> dict[str, Any] | str:
    """Return the JSON object in a text frame, or a sentence that says why there is none."""
    if not isinstance(frame, str):
        return f"a binary frame of {len(frame)} bytes"
    try:
        data = loads(frame.encode())
    except ValueError:
        return f"not JSON: {abbreviate(frame)}"
    return data if isinstance(data, dict) else f"JSON, but not an object: {abbreviate(frame)}"


def encode_frame(**fields: Any) -> str:
    """Return a text frame with a JSON object of these fields."""
    return json.dumps(fields, ensure_ascii=False)


def abbreviate(value: Any) -> str:
    """Return a value from the gateway in about 40 characters, for a message."""
    if isinstance(value, str):
        return repr(value[:40])
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    return "null" if value is None else str(value).lower()
