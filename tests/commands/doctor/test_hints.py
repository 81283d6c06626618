"""What to do about a checkup that failed."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.gateway import settings
from voicegw.commands.doctor.hints import EXPIRED, HOSTS, hint, unreachable, untrusted
from voicegw.errors import (
    AgentBusy,
    AgentError,
    AgentProtocolError,
    AgentRejected,
    AgentTimeout,
    AgentUnavailable,
    ConfigError,
)

HERE = "http://127.0.0.1:8000"
BEDROCK = {
    "kind": "bedrock",
    "region": "eu-west-1",
    "model": "m",
    "access_key_env": "WHO",
    "secret_key_env": "WHAT",
}


def table(kind: str, **more: Any) -> object:
    where = {} if kind == "bedrock" else {"url": HERE}
    return settings(agents={"desk": {"kind": kind, **where, **more}}).agents["desk"]


def answered(kind: type[AgentError], status: int, path: str = "/v1") -> AgentError:
    return kind(f"{HERE}{path} answered {status}", "its own words")


@pytest.mark.parametrize(
    ("error", "agent", "said"),
    [
        (
            answered(AgentRejected, 401),
            table("hermes", key_env="HERMES_KEY"),
            "It does not take the key in HERMES_KEY: compare it with the one that it knows.",
        ),
        (
            answered(AgentRejected, 403),
            table(**BEDROCK),
            "It does not take the key in WHO and WHAT: compare it with the one that it knows.",
        ),
        (
            answered(AgentRejected, 401),
            table("openai"),
            "It wants a key: let `key_env` name the environment variable that holds it.",
        ),
        (
            answered(AgentRejected, 404),
            table("openai", model="m"),
            "Its server knows no such thing: correct `url` or `model`.",
        ),
        (answered(AgentRejected, 404), table("hermes"), "Its server knows no such thing: correct `url`."),
        (
            answered(AgentRejected, 400),
            table("zeroclaw"),
            "Its server knows no such thing: correct `url` or `agent`.",
        ),
        (
            answered(AgentRejected, 404, "/api/profiles/voice"),
            table("openhands", profile="voice"),
            "Save that LLM profile on its server, as docs/agents.md shows, or correct `profile`.",
        ),
        (
            answered(AgentBusy, 429),
            table("openhands"),
            "It had no room for one more: try later, or let its server do more at a time "
            "(OH_MAX_CONCURRENT_RUNS).",
        ),
        (
            answered(AgentBusy, 429),
            table("openai"),
            "It had no room for one more: try later, or let its server do more at a time.",
        ),
        (
            answered(AgentProtocolError, 400),
            table("openai"),
            "It does not take what it is asked: correct what its answer names, or pass on fewer options "
            "(`fields`).",
        ),
        (
            answered(AgentProtocolError, 422),
            table("hermes"),
            "It does not take what it is asked: correct what its answer names.",
        ),
        (
            AgentProtocolError("no HTTP"),
            table("openai"),
            "Its server may be one of another kind: correct `url` or `kind`, or begin `url` with https:// "
            "if it speaks TLS.",
        ),
        (
            AgentProtocolError("no HTTP"),
            table("hermes", url="https://127.0.0.1:8000"),
            "Its server may be one of another kind: correct `url` or `kind`.",
        ),
        (AgentTimeout("late"), table("openai"), "See what it waits for; --within gives it longer."),
        (TimeoutError(), table("openai"), "See what it waits for; --within gives it longer."),
        (AgentUnavailable("hung up"), table("openai"), "Start its server, or correct `url`."),
        (answered(AgentUnavailable, 500), table("openai"), "The log of its server may say more."),
        (AgentError("it said nothing"), table("openai"), "The log of its server may say more."),
        (AgentError("it said nothing"), settings().agents["desk"], ""),
        (AgentUnavailable(f"{HERE} redirects to there: configure the final address"), table("openai"), ""),
        (ConfigError('there is no module "nofn"'), settings().agents["desk"], ""),
    ],
)
def test_every_failure_has_its_remedy(error: Exception, agent: object, said: str) -> None:
    assert hint(error, agent) == said


@pytest.mark.parametrize(
    ("agent", "said"),
    [
        (table("openhands"), "Start its server, or correct `url`: docs/agents.md says how."),
        (table("openai"), "Start its server, or correct `url`."),
        (table(**BEDROCK), "See that it can be reached from here."),
    ],
)
def test_who_is_not_there_has_to_be_started_if_it_is_the_operators(agent: object, said: str) -> None:
    assert unreachable(agent) == said


def test_a_certificate_is_mended_by_why_it_is_not_trusted() -> None:
    self_signed = 18
    told = [untrusted(number) for number in (self_signed, EXPIRED, *HOSTS)]
    assert told == [
        "Name its certificate, or that of who signed it, in `ca_file`.",
        "Renew the certificate.",
        *["Let `url` name its server as the certificate does."] * 2,
    ]
