"""The hint for each failure of an agent."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.gateway import make_config
from voicegw.commands.doctor.hints import (
    CERTIFICATE_EXPIRED_CODE,
    NAME_MISMATCH_CODES,
    certificate_hint,
    hint_for,
    unreachable_hint,
)
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
    "access_key_env": "ACCESS",
    "secret_key_env": "SECRET",
}


def agent_settings(kind: str, **more: Any) -> object:
    address = {} if kind == "bedrock" else {"url": HERE}
    return make_config(agents={"desk": {"kind": kind, **address, **more}}).agents["desk"]


def answered_with(kind: type[AgentError], status: int, path: str = "/v1") -> AgentError:
    return kind(f"{HERE}{path} answered {status}", "the server's words")


@pytest.mark.parametrize(
    ("error", "agent", "hint"),
    [
        (
            answered_with(AgentRejected, 401),
            agent_settings("hermes", key_env="HERMES_KEY"),
            "It does not accept the key in HERMES_KEY: compare it with the key on its server.",
        ),
        (
            answered_with(AgentRejected, 403),
            agent_settings(**BEDROCK),
            "It does not accept the key in ACCESS and SECRET: compare it with the key on its server.",
        ),
        (
            answered_with(AgentRejected, 401),
            agent_settings("openai"),
            "It requires a key: name the environment variable that holds the key in `key_env`.",
        ),
        (
            answered_with(AgentRejected, 404),
            agent_settings("openai", model="m"),
            "Its server does not know that name or address: correct `url` or `model`.",
        ),
        (
            answered_with(AgentRejected, 404),
            agent_settings("hermes"),
            "Its server does not know that name or address: correct `url`.",
        ),
        (
            answered_with(AgentRejected, 400),
            agent_settings("zeroclaw"),
            "Its server does not know that name or address: correct `url` or `agent`.",
        ),
        (
            answered_with(AgentRejected, 404, "/api/profiles/voice"),
            agent_settings("openhands", profile="voice"),
            "Save that LLM profile on its server, as docs/agents.md shows, or correct `profile`.",
        ),
        (
            answered_with(AgentBusy, 429),
            agent_settings("openhands"),
            "It is busy with other turns: try later, or raise its server's limit (OH_MAX_CONCURRENT_RUNS).",
        ),
        (
            answered_with(AgentBusy, 429),
            agent_settings("openai"),
            "It is busy with other turns: try later, or raise its server's limit.",
        ),
        (
            answered_with(AgentProtocolError, 400),
            agent_settings("openai"),
            "It does not accept the request: correct the field that its answer names, or pass on fewer "
            "options (`fields`).",
        ),
        (
            answered_with(AgentProtocolError, 422),
            agent_settings("hermes"),
            "It does not accept the request: correct the field that its answer names.",
        ),
        (
            AgentProtocolError("no HTTP"),
            agent_settings("openai"),
            "Its server may be one of another kind: correct `url` or `kind`, or begin `url` with https:// "
            "if it speaks TLS.",
        ),
        (
            AgentProtocolError("no HTTP"),
            agent_settings("hermes", url="https://127.0.0.1:8000"),
            "Its server may be one of another kind: correct `url` or `kind`.",
        ),
        (AgentTimeout("late"), agent_settings("openai"), "See what it waits for; --within gives it longer."),
        (TimeoutError(), agent_settings("openai"), "See what it waits for; --within gives it longer."),
        (AgentUnavailable("hung up"), agent_settings("openai"), "Start its server, or correct `url`."),
        (
            answered_with(AgentUnavailable, 500),
            agent_settings("openai"),
            "The log of its server may say more.",
        ),
        (AgentError("its answer is empty"), agent_settings("openai"), "The log of its server may say more."),
        (AgentError("its answer is empty"), make_config().agents["desk"], ""),
        (
            AgentUnavailable(f"{HERE} redirects: configure the final address"),
            agent_settings("openai"),
            "",
        ),
        (ConfigError('there is no module "nofn"'), make_config().agents["desk"], ""),
    ],
)
def test_each_failure_has_its_hint(error: Exception, agent: object, hint: str) -> None:
    assert hint_for(error, agent) == hint


@pytest.mark.parametrize(
    ("agent", "hint"),
    [
        (agent_settings("openhands"), "Start its server, or correct `url`: docs/agents.md says how."),
        (agent_settings("openai"), "Start its server, or correct `url`."),
        (agent_settings(**BEDROCK), "Check that this machine can reach it."),
    ],
)
def test_the_hint_for_an_unreachable_server_depends_on_the_kind(agent: object, hint: str) -> None:
    assert unreachable_hint(agent) == hint


def test_the_hint_for_a_certificate_depends_on_the_reason() -> None:
    self_signed = 18
    hints = [
        certificate_hint(number) for number in (self_signed, CERTIFICATE_EXPIRED_CODE, *NAME_MISMATCH_CODES)
    ]
    assert hints == [
        "Name its certificate, or that of its issuer, in `ca_file`.",
        "Renew the certificate.",
        *["Use a host name in `url` that the certificate holds."] * 2,
    ]
