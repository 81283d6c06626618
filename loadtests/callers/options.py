"""What can be said on locust's command line, besides what locust itself knows."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING, Any

from loadtests.callers.chat import CallerOptions
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
SECRETS = {
    "chat": ("key", "the bearer token of chat requests"),
    "relay": ("twilio-token", "the auth token by which Twilio signs"),
    "speech-engine": ("elevenlabs-key", "the API key by which ElevenLabs signs"),
}


def add_options(parser: LocustArgumentParser) -> None:
    """Our options, and defaults that keep every run on this machine and bounded."""
    parser.set_defaults(host="http://127.0.0.1:8080", run_time="1m", stop_timeout="10")
    parser.add_argument("--turns", type=count(1, 1_000_000), default=3, help="turns of a call")
    parser.add_argument(
        "--think", type=number(0, 3600), default=1.0, help="s between an answer and the next words"
    )
    parser.add_argument("--pause", type=number(0, 3600), default=1.0, help="s between two calls of a caller")
    parser.add_argument(
        "--answer-marker", default=ANSWER_MARK, help="text that only the agent's own answer contains"
    )
    for name, scenario in SCENARIOS.items():
        about = f"{scenario.description}: the agent that is asked for"
        parser.add_argument(f"--model-{name}", default=scenario.model, help=about)
    for platform, path in PATHS.items():
        about = f"where calls of {platform} arrive"
        parser.add_argument(f"--{platform}-path", default=path, help=about)
    for name, about in SECRETS.values():
        env = f"VOICEGW_LOAD_{name.upper().replace('-', '_')}"
        parser.add_argument(f"--{name}", default="", help=about, env_var=env, is_secret=True)
    hidden: dict[str, Any] = {"include_in_web_ui": False}
    parser.add_argument("--most", type=SECONDS, default=3600.0, help="s after which any run ends", **hidden)
    parser.add_argument("--target", default="voicegw", help="the target's name in the results", **hidden)
    parser.add_argument(
        "--results", type=results_file, default="", metavar="FILE", help="write every turn's times here", **hidden
    )
    parser.add_argument(
        "--anywhere", action="store_true", help="allow targets that are not this machine", **hidden
    )


def unknown_tags(options: Namespace) -> list[str]:
    """The tags that no call has, so that nobody would call; `--tags` takes all words that follow it."""
    asked = {*(options.tags or ()), *(options.exclude_tags or ())}
    return sorted(asked - {*SCENARIOS, "mixed"})


def results_file(text: str) -> str:
    """An option's type: a file that can be written, or "" for none."""
    return text and str(writable(text))


def caller_options(options: Namespace, platform: str, host: str) -> CallerOptions:
    """Where and how calls of a platform are made. Raises ValueError for an address that is none."""
    if not host.startswith(("http://", "https://")):
        raise ValueError(f"--host must be http://... or https://..., not {host}")
    secret = ""
    if platform in SECRETS:
        secret = getattr(options, SECRETS[platform][0].replace("-", "_"))
    path = getattr(options, f"{platform.replace('-', '_')}_path")
    return CallerOptions(host.rstrip("/"), path, secret, options.answer_marker, options.anywhere)


def redact_command(argv: list[str]) -> list[str]:
    """The command line without what is secret."""
    names = {f"--{name}" for name, _ in SECRETS.values()}
    shown, secret = [], False
    for word in argv:
        name, given, _ = word.partition("=")
        hides = len(name) > 2 and any(known.startswith(name) for known in names)  # names may be cut short
        shown.append("***" if secret else f"{name}=***" if given and hides else word)
        secret = hides and not given
    return shown
