"""Every request passes the entrance: ids, keys, and who may not come in at all."""

from __future__ import annotations

import json
import logging

import pytest

from tests.support.gateway import ask, drive, gateway
from tests.support.phone import dial
from tests.support.script import script
from voicegw.security.keys import digest

KEY = "vgw_secret"
KEYS = {"shop": {"hash": f"sha256:{digest(KEY).hex()}"}}
PATHS = ["/v1/chat/completions", "/v1/models", "/metrics", "/nowhere", "/openapi.json", "/docs"]


async def test_a_request_keeps_its_id_or_gets_one() -> None:
    app = gateway(script("Hi"))
    assert (await ask(app, headers={"x-request-id": "abc-123"})).headers["x-request-id"] == "abc-123"
    made = {(await ask(app)).headers["x-request-id"] for _ in range(2)}
    assert len(made) == 2


@pytest.mark.parametrize("odd", ["", "a b", "x" * 129, "é", "a\x01"])
async def test_an_id_that_could_break_a_log_is_replaced(odd: str) -> None:
    answer = await drive(
        gateway(script("Hi")), path="/v1/models", method="GET", headers={"x-request-id": odd}
    )
    assert answer.headers["x-request-id"].startswith("req_")


@pytest.mark.parametrize("path", ["/v1/models", "/nowhere", "/healthz", "/v1/models/none"])
async def test_every_answer_carries_the_id(path: str) -> None:
    answer = await drive(gateway(script("Hi")), path=path, method="GET", headers={"x-request-id": "abc"})
    assert answer.headers["x-request-id"] == "abc"


@pytest.mark.parametrize("path", PATHS)
async def test_with_keys_nothing_but_health_is_open(path: str) -> None:
    app = gateway(script("Hi"), keys=KEYS)
    assert (await drive(app, path=path, method="GET")).status == 401
    allowed = await drive(app, path=path, method="GET", headers={"authorization": f"Bearer {KEY}"})
    assert allowed.status in (200, 404, 405)


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_health_needs_no_key(path: str) -> None:
    answer = await drive(
        gateway(script("Hi"), keys=KEYS), path=path, method="GET", headers={"host": "10.0.0.7"}
    )
    assert answer.status == 200


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"x-forwarded-for": "1.2.3.4"},
        {"forwarded": "for=1.2.3.4"},
        {"origin": "https://evil.example"},
    ],
)
async def test_without_keys_nobody_walks_in_from_outside(path: str, headers: dict[str, str]) -> None:
    agent = script("Hi")
    answer = await drive(gateway(agent), path=path, method="GET", headers=headers)
    assert (answer.status, answer.error["type"], agent.started) == (403, "permission_error", [])


async def test_listed_hosts_and_origins_may_come_in_without_keys() -> None:
    server = {"hosts": ["box.lan"], "origins": ["https://app.example"]}
    app = gateway(script("Hi"), server=server)
    answer = await ask(app, headers={"host": "box.lan:8080", "origin": "https://app.example"})
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, "https://app.example")


async def test_a_listed_web_page_may_ask_before_it_comes() -> None:
    app = gateway(script("Hi"), keys=KEYS, server={"origins": ["https://app.example"]})
    asking = {
        "origin": "https://app.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type",
    }
    answer = await drive(app, method="OPTIONS", headers=asking)
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == "https://app.example"
    assert "authorization" in answer.headers["access-control-allow-headers"]
    other = await drive(app, method="OPTIONS", headers={**asking, "origin": "https://evil.example"})
    assert "access-control-allow-origin" not in other.headers


async def test_a_refusal_is_logged_without_key_or_path(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "voicegw.access")
    app = gateway(script("Hi"), keys=KEYS)
    await drive(app, path="/retell/secret-in-path", headers={"authorization": "Bearer wrong-key"})
    [record] = caplog.records
    assert '"status":401' in record.getMessage()
    assert '"client":"127.0.0.1"' in record.getMessage()
    for secret in ("wrong-key", "secret-in-path"):
        assert secret not in caplog.text


async def test_a_proxy_s_word_counts_only_if_it_is_trusted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "voicegw.access")
    for proxies, client in (([], "127.0.0.1"), (["127.0.0.1"], "192.0.2.9")):
        app = gateway(script("Hi"), keys=KEYS, server={"trusted_proxies": proxies})
        await drive(app, headers={"x-forwarded-for": "192.0.2.9"})
        assert f'"client":"{client}"' in caplog.records[-1].getMessage()


OWN = [("127.0.0.1:8080", "http://127.0.0.1:8080"), ("localhost:8080", "HTTPS://LOCALHOST:8080")]


@pytest.mark.parametrize(("host", "origin"), [*OWN, ("localhost", "http://localhost")])
async def test_without_keys_our_own_page_may_come_in(host: str, origin: str) -> None:
    answer = await ask(gateway(script("Hi")), headers={"host": host, "origin": origin})
    assert answer.status == 200


@pytest.mark.parametrize(
    "origin",
    [
        "http://127.0.0.1:8081",
        "http://127.0.0.1",
        "http://localhost:8080",
        "http://127.0.0.1:8080.evil.example",
        "http://127.0.0.1:8080@evil.example",
        "null",
        "",
    ],
)
async def test_without_keys_the_page_of_another_port_or_place_may_not(origin: str) -> None:
    agent = script("Hi")
    answer = await ask(gateway(agent), headers={"host": "127.0.0.1:8080", "origin": origin})
    assert (answer.status, agent.started) == (403, [])


async def test_whoever_claims_to_be_us_under_a_name_of_their_own_may_not_come_in() -> None:
    headers = {"host": "evil.example", "origin": "http://evil.example"}
    assert (await ask(gateway(script("Hi")), headers=headers)).status == 403


@pytest.mark.parametrize(("proxies", "client"), [([], "127.0.0.1"), (["127.0.0.1"], "192.0.2.7")])
async def test_a_websocket_needs_no_key_but_a_desk_and_its_client_is_told(
    proxies: list[str], client: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    app = gateway(script("Hi"), keys=KEYS, server={"trusted_proxies": proxies})
    headers = {"x-forwarded-for": "192.0.2.7", "x-request-id": "abc", "authorization": f"Bearer {KEY}"}
    async with dial(app, "/v1/chat/completions", headers=headers) as phone:
        pass
    assert phone.status == 404
    [line] = [json.loads(message) for message in caplog.messages if "refusal" in message]
    assert (line["client"], line["request"]) == (client, "abc")
