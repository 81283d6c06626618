"""The command-line options of the load tests for locust, in addition to locust's options."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loadtests.callers.scenarios import SCENARIOS
from loadtests.generate.cli_types import SECONDS, count, number, writable
from loadtests.servers.upstream import ANSWER_MARK

if TYPE_CHECKING:
    from locust.argument_parser import LocustArgumentParser

PATHS = {
    "chat": "/v1/chat/completions",
    "relay": "/twilio/relay",
    "retell": "/retell",
    "speech-engine": "/elevenlabs/speech-engine",
}
"""The default paths at which the gateway takes the calls of each platform."""
SECRETS = {
    "chat": ("key", "bearer token of chat requests"),
    "relay": ("twilio-token", "auth token that signs Twilio's calls"),
    "speech-engine": ("elevenlabs-key", "API key that signs ElevenLabs' calls"),
}
"""The option for the secret of a platform, and its help."""


@dataclass(frozen=True, slots=True)
class CallerOptions:
    """Where and how calls are made.

    `url` is the address of the gateway, `path` follows it. `secret` proves the caller's identity. `marker`
    is text that only the agent's answer contains. `anywhere` allows a gateway on another machine.
    """

    url: str
    path: str
    secret: str
    marker: str
    anywhere: bool


def add_options(parser: LocustArgumentParser) -> None:
    """Add the options, and defaults that keep every run on this machine and limit its length."""
    parser.set_defaults(host="http://127.0.0.1:8080", run_time="1m", stop_timeout="10")
    parser.add_argument("--turns", type=count(1, 1_000_000), default=3, help="turns of a call (default: 3)")
    parser.add_argument(
        "--think",
        type=number(0, 3600),
        default=1.0,
        help="seconds between an answer and the next question (default: 1)",
    )
    parser.add_argument(
        "--pause",
        type=number(0, 3600),
        default=1.0,
        help="seconds between two calls of a caller (default: 1)",
    )
    parser.add_argument(
        "--answer-marker", default=ANSWER_MARK, help="text that only the agent's answer contains"
    )
    for name, scenario in SCENARIOS.items():
        description = f"{scenario.description}: the model to request"
        parser.add_argument(f"--model-{name}", default=scenario.model, help=description)
    for platform, path in PATHS.items():
        description = f"path for calls on {platform}"
        parser.add_argument(f"--{platform}-path", default=path, help=description)
    for name, description in SECRETS.values():
        env = f"VOICEGW_LOAD_{name.upper().replace('-', '_')}"
        parser.add_argument(f"--{name}", default="", help=description, env_var=env, is_secret=True)
    hidden: dict[str, Any] = {"include_in_web_ui": False}
    parser.add_argument(
        "--most",
        type=SECONDS,
        default=3600.0,
        help="seconds after which any run ends (default: 3600)",
        **hidden,
    )
    parser.add_argument("--target", default="voicegw", help="name of the target in the results", **hidden)
    parser.add_argument(
        "--results",
        type=results_file,
        default="",
        metavar="FILE",
        help="write the times of every turn to this file",
        **hidden,
    )
    parser.add_argument("--anywhere", action="store_true", help="allow targets on other machines", **hidden)


def unknown_tags(options: Namespace) -> list[str]:
    """Return the given tags that no task has: with them, no caller would call."""
    tags = {*(options.tags or ()), *(options.exclude_tags or ())}
    return sorted(tags - {*SCENARIOS, "mixed"})


def results_file(text: str) -> str:
    """An option type: a writable file, or "" for none."""
    return text and str(writable(text))


def caller_options(options: Namespace, platform: str, host: str) -> CallerOptions:
    """Return where and how calls on a platform are made. Raises ValueError for an address without http(s)."""
    if not host.startswith(("http://", "https://")):
        raise ValueError(f"--host must be http://... or https://..., not {host!r}")
    secret = ""
    if platform in SECRETS:
        secret = getattr(options, SECRETS[platform][0].replace("-", "_"))
    path = getattr(options, f"{platform.replace('-', '_')}_path")
    return CallerOptions(host.rstrip("/"), path, secret, options.answer_marker, options.anywhere)


def redact_command(argv: list[str]) -> list[str]:
    """Return the command line with *** in place of secrets."""
    names = {f"--{name}" for name, _ in SECRETS.values()}
    shown, secret = [], False
    for word in argv:
        name, given, _ = word.partition("=")
        hides = len(name) > 2 and any(
            known.startswith(name) for known in names
        )  # argparse accepts shortened names
        shown.append("***" if secret else f"{name}=***" if given and hides else word)
        secret = hides and not given
    return shown
