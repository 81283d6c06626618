"""The middleware: request ids, API keys, and the requests that it refuses."""

from __future__ import annotations

import gzip
import json
import logging

import pytest

from tests.support.asgi_websocket import connect_websocket
from tests.support.fake_agent import fake_agent
from tests.support.gateway import create_gateway, send_request, send_turn
from voicegw.security.keys import hash_secret

KEY = "vgw_secret"
KEYS = {"shop": {"hash": f"sha256:{hash_secret(KEY).hex()}"}}
PATHS = ["/v1/chat/completions", "/v1/models", "/metrics", "/nowhere", "/openapi.json", "/docs"]


async def test_a_request_keeps_its_id_or_gets_a_new_one() -> None:
    app = create_gateway(fake_agent("Hi"))
    assert (await send_turn(app, headers={"x-request-id": "abc-123"})).headers["x-request-id"] == "abc-123"
    ids = {(await send_turn(app)).headers["x-request-id"] for _ in range(2)}
    assert len(ids) == 2


@pytest.mark.parametrize("invalid_id", ["", "a b", "x" * 129, "é", "a\x01"])
async def test_a_request_id_that_could_break_the_log_is_replaced(invalid_id: str) -> None:
    answer = await send_request(
        create_gateway(fake_agent("Hi")),
        path="/v1/models",
        method="GET",
        headers={"x-request-id": invalid_id},
    )
    assert answer.headers["x-request-id"].startswith("req_")


@pytest.mark.parametrize("path", ["/v1/models", "/nowhere", "/healthz", "/v1/models/none"])
async def test_every_response_has_the_request_id(path: str) -> None:
    answer = await send_request(
        create_gateway(fake_agent("Hi")), path=path, method="GET", headers={"x-request-id": "abc"}
    )
    assert answer.headers["x-request-id"] == "abc"


@pytest.mark.parametrize("path", PATHS)
async def test_with_keys_only_health_is_public(path: str) -> None:
    app = create_gateway(fake_agent("Hi"), keys=KEYS)
    assert (await send_request(app, path=path, method="GET")).status == 401
    allowed = await send_request(app, path=path, method="GET", headers={"authorization": f"Bearer {KEY}"})
    assert allowed.status in (200, 404, 405)


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_health_needs_no_key(path: str) -> None:
    answer = await send_request(
        create_gateway(fake_agent("Hi"), keys=KEYS), path=path, method="GET", headers={"host": "10.0.0.7"}
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
async def test_without_keys_requests_from_outside_are_refused(path: str, headers: dict[str, str]) -> None:
    agent = fake_agent("Hi")
    answer = await send_request(create_gateway(agent), path=path, method="GET", headers=headers)
    assert (answer.status, answer.error["type"], agent.start_times) == (403, "permission_error", [])


async def test_without_keys_listed_hosts_and_origins_are_allowed() -> None:
    server = {"hosts": ["box.lan"], "origins": ["https://app.example"]}
    app = create_gateway(fake_agent("Hi"), server=server)
    answer = await send_turn(app, headers={"host": "box.lan:8080", "origin": "https://app.example"})
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, "https://app.example")


async def test_a_listed_origin_passes_the_cors_preflight() -> None:
    app = create_gateway(fake_agent("Hi"), keys=KEYS, server={"origins": ["https://app.example"]})
    asking = {
        "origin": "https://app.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type",
    }
    answer = await send_request(app, method="OPTIONS", headers=asking)
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == "https://app.example"
    assert "authorization" in answer.headers["access-control-allow-headers"]
    other = await send_request(app, method="OPTIONS", headers={**asking, "origin": "https://evil.example"})
    assert "access-control-allow-origin" not in other.headers


async def test_a_refusal_is_logged_without_key_or_path(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "voicegw.access")
    app = create_gateway(fake_agent("Hi"), keys=KEYS)
    await send_request(app, path="/retell/secret-in-path", headers={"authorization": "Bearer wrong-key"})
    [record] = caplog.records
    assert '"status":401' in record.getMessage()
    assert '"client":"127.0.0.1"' in record.getMessage()
    for secret in ("wrong-key", "secret-in-path"):
        assert secret not in caplog.text


async def test_x_forwarded_for_counts_only_from_trusted_proxies(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "voicegw.access")
    for proxies, client in (([], "127.0.0.1"), (["127.0.0.1"], "192.0.2.9")):
        app = create_gateway(fake_agent("Hi"), keys=KEYS, server={"trusted_proxies": proxies})
        await send_request(app, headers={"x-forwarded-for": "192.0.2.9"})
        assert f'"client":"{client}"' in caplog.records[-1].getMessage()


OWN = [("127.0.0.1:8080", "http://127.0.0.1:8080"), ("localhost:8080", "HTTPS://LOCALHOST:8080")]


@pytest.mark.parametrize(("host", "origin"), [*OWN, ("localhost", "http://localhost")])
async def test_without_keys_the_gateway_s_own_pages_are_allowed(host: str, origin: str) -> None:
    answer = await send_turn(create_gateway(fake_agent("Hi")), headers={"host": host, "origin": origin})
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
async def test_without_keys_pages_of_other_origins_are_refused(origin: str) -> None:
    agent = fake_agent("Hi")
    answer = await send_turn(create_gateway(agent), headers={"host": "127.0.0.1:8080", "origin": origin})
    assert (answer.status, agent.start_times) == (403, [])


async def test_without_keys_a_foreign_host_with_the_same_origin_is_refused() -> None:
    headers = {"host": "evil.example", "origin": "http://evil.example"}
    assert (await send_turn(create_gateway(fake_agent("Hi")), headers=headers)).status == 403


@pytest.mark.parametrize(("proxies", "client"), [([], "127.0.0.1"), (["127.0.0.1"], "192.0.2.7")])
async def test_a_websocket_needs_no_key_but_an_endpoint_and_its_client_is_logged(
    proxies: list[str], client: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    app = create_gateway(fake_agent("Hi"), keys=KEYS, server={"trusted_proxies": proxies})
    headers = {"x-forwarded-for": "192.0.2.7", "x-request-id": "abc", "authorization": f"Bearer {KEY}"}
    async with connect_websocket(app, "/v1/chat/completions", headers=headers) as phone:
        pass
    assert phone.status == 404
    [record_fields] = [json.loads(message) for message in caplog.messages if "refusal" in message]
    assert (record_fields["client"], record_fields["request"]) == (client, "abc")


@pytest.mark.parametrize(
    "path",
    ["//v1/chat/completions", "/v1//chat/completions", "/v1///chat//completions", "//chat/completions//"],
)
async def test_doubled_slashes_count_as_one(path: str) -> None:
    assert (await send_turn(create_gateway(fake_agent("Hi")), path=path)).text == "One moment. Hi"


@pytest.mark.parametrize(("path", "status"), [("//healthz", 200), ("//v1//models", 401), ("//", 401)])
async def test_doubled_slashes_change_no_access_rights(path: str, status: int) -> None:
    app = create_gateway(fake_agent("Hi"), keys=KEYS)
    assert (await send_request(app, path=path, method="GET")).status == status


@pytest.mark.parametrize("encoding", ["gzip", "br", "identity, gzip", "unknown"])
async def test_a_compressed_body_is_refused(encoding: str) -> None:
    agent = fake_agent("Hi")
    answer = await send_request(
        create_gateway(agent), gzip.compress(b"{}"), headers={"content-encoding": encoding}
    )
    assert (answer.status, answer.error["code"], agent.turns) == (415, "unsupported_media_type", [])
    assert answer.headers["accept-encoding"] == "identity"
    assert answer.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("encoding", ["identity", "Identity", ""])
async def test_a_body_that_says_that_it_is_not_compressed_is_read(encoding: str) -> None:
    answer = await send_turn(create_gateway(fake_agent("Hi")), headers={"content-encoding": encoding})
    assert answer.status == 200
