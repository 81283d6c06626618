"""The routes for models, health and metrics, and the OpenAPI document."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.asgi import run_lifespan
from tests.support.fake_agent import fake_agent
from tests.support.gateway import create_gateway, send_request, send_turn
from voicegw import __version__
from voicegw.security.keys import hash_secret

KEYS = {
    "one": {"hash": f"sha256:{hash_secret('k1').hex()}", "models": ["desk"]},
    "all": {"hash": f"sha256:{hash_secret('k2').hex()}"},
}
AGENTS = {"desk": {"kind": "scripted"}, "shop/v2": {"kind": "scripted"}}


@pytest.mark.parametrize("prefix", ["/v1", ""])
async def test_agents_are_listed_as_models(prefix: str) -> None:
    app = create_gateway(fake_agent("Hi"), agents=AGENTS)
    answer = await send_request(app, path=f"{prefix}/models", method="GET")
    assert [model["id"] for model in answer.json["data"]] == ["desk", "shop/v2"]
    one = await send_request(app, path=f"{prefix}/models/shop/v2", method="GET")
    assert (one.json["id"], one.json["object"]) == ("shop/v2", "model")
    none = await send_request(app, path=f"{prefix}/models/gone", method="GET")
    assert (none.status, none.error["code"]) == (404, "model_not_found")
    head = await send_request(app, path=f"{prefix}/models", method="HEAD")
    assert head.status == 200


async def test_a_key_sees_its_own_models_only() -> None:
    app = create_gateway(fake_agent("Hi"), agents=AGENTS, keys=KEYS)
    for secret, visible in (("k1", ["desk"]), ("k2", ["desk", "shop/v2"])):
        headers = {"authorization": f"Bearer {secret}"}
        answer = await send_request(app, path="/v1/models", method="GET", headers=headers)
        assert [model["id"] for model in answer.json["data"]] == visible
        one = await send_request(app, path="/v1/models/shop/v2", method="GET", headers=headers)
        assert one.status == (200 if "shop/v2" in visible else 404)


async def test_the_gateway_is_ready_until_it_drains() -> None:
    app = create_gateway(fake_agent("Hi"))
    assert (await send_request(app, path="/healthz", method="GET")).json == {"status": "ok"}
    async with run_lifespan(app) as state:
        assert (await send_request(app, path="/readyz", method="GET")).json == {"status": "ready"}
        state["drain"]()
        draining = await send_request(app, path="/readyz", method="GET")
        assert (draining.status, draining.headers["retry-after"]) == (503, "1")
        assert (await send_request(app, path="/healthz", method="GET")).status == 200


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", "/metrics"])
async def test_probes_may_ask_for_the_head_only(path: str) -> None:
    """Uptime monitors and load balancers send HEAD."""
    app = create_gateway(fake_agent("Hi"))
    async with run_lifespan(app):
        assert (await send_request(app, path=path, method="HEAD")).status == 200


async def test_metrics_separate_the_two_latencies() -> None:
    app = create_gateway(fake_agent(0.3, "Hi"))
    await send_turn(app)
    await send_turn(app, hang_up=0.1)
    await asyncio.sleep(1)
    await send_request(app, b"{")
    text = (await send_request(app, path="/metrics", method="GET")).body.decode()
    for line in (
        'voicegw_turns_total{agent="desk",outcome="answered"} 1.0',
        'voicegw_turns_total{agent="desk",outcome="cancelled"} 1.0',
        'voicegw_refusals_total{status="400"} 1.0',
        "voicegw_turns_running 0.0",
        "voicegw_runs 0.0",
        "voicegw_tasks 1.0",
        "voicegw_calls_remembered 0.0",
        'voicegw_ack_seconds_count{agent="desk"} 2.0',
        'voicegw_ack_seconds_bucket{agent="desk",le="0.0001"} 2.0',
        'gen_ai_server_time_to_first_token_seconds_count{agent="desk"} 1.0',
        'gen_ai_server_time_to_first_token_seconds_sum{agent="desk"} 0.3',
        'gen_ai_client_operation_time_to_first_chunk_seconds_sum{agent="desk"} 0.3',
        'voicegw_stop_seconds_count{agent="desk"} 1.0',
    ):
        assert line in text.splitlines()


async def test_the_openapi_document_describes_both_completion_endpoints() -> None:
    app = create_gateway(fake_agent("Hi"))
    document = (await send_request(app, path="/openapi.json", method="GET")).json
    for path, id in (("/v1/chat/completions", "chat_completions"), ("/v1/responses", "responses")):
        operation = document["paths"][path]["post"]
        assert operation["operationId"] == id
        [content] = operation["requestBody"]["content"].values()
        assert (await send_request(app, content["schema"]["example"], path=path)).status == 200
    assert {"/v1/models", "/v1/models/{id}", "/healthz", "/readyz", "/metrics"} <= document["paths"].keys()
    operations = [verb.get("operationId") for path in document["paths"].values() for verb in path.values()]
    assert len(operations) == len(set(operations))


@pytest.mark.parametrize(("path", "method", "status"), [("/nope", "GET", 404), ("/healthz", "POST", 405)])
async def test_unknown_paths_and_methods_get_the_error_envelope(path: str, method: str, status: int) -> None:
    answer = await send_request(create_gateway(fake_agent("Hi")), path=path, method=method)
    assert (answer.status, answer.error.keys()) == (status, {"message", "type", "param", "code"})


async def test_the_root_path_lists_the_main_paths() -> None:
    app = create_gateway(fake_agent("Hi"))
    about = (await send_request(app, path="/", method="GET")).json
    assert (about.pop("name"), about.pop("version")) == ("voicegw", __version__)
    assert about == {
        "chat": "/v1/chat/completions",
        "responses": "/v1/responses",
        "models": "/v1/models",
        "documentation": "/docs",
    }
    assert (await send_turn(app, path=about["chat"])).status == 200
    assert (await send_turn(app, {"input": "Hello?"}, path=about["responses"])).status == 200
    for place in (about["models"], about["documentation"]):
        assert (await send_request(app, path=place, method="GET")).status == 200


async def test_the_root_path_needs_a_key() -> None:
    app = create_gateway(fake_agent("Hi"), agents=AGENTS, keys=KEYS)
    assert (await send_request(app, path="/", method="GET")).status == 401
    assert (
        await send_request(app, path="/", method="GET", headers={"authorization": "Bearer k1"})
    ).status == 200


@pytest.mark.parametrize("path", ["/docs/", "/healthz/", "/v1/models/desk/"])
async def test_no_path_redirects(path: str) -> None:
    answer = await send_request(create_gateway(fake_agent("Hi")), path=path, method="GET")
    assert (answer.status, "location" in answer.headers) == (404, False)
