"""Models, health, metrics, and the description of it all."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.asgi import running
from tests.support.gateway import ask, drive, gateway
from tests.support.script import script
from voicegw import __version__
from voicegw.security.keys import digest

KEYS = {
    "one": {"hash": f"sha256:{digest('k1').hex()}", "models": ["desk"]},
    "all": {"hash": f"sha256:{digest('k2').hex()}"},
}
AGENTS = {"desk": {"kind": "scripted"}, "shop/v2": {"kind": "scripted"}}


@pytest.mark.parametrize("prefix", ["/v1", ""])
async def test_agents_are_listed_as_models(prefix: str) -> None:
    app = gateway(script("Hi"), agents=AGENTS)
    answer = await drive(app, path=f"{prefix}/models", method="GET")
    assert [model["id"] for model in answer.json["data"]] == ["desk", "shop/v2"]
    one = await drive(app, path=f"{prefix}/models/shop/v2", method="GET")
    assert (one.json["id"], one.json["object"]) == ("shop/v2", "model")
    none = await drive(app, path=f"{prefix}/models/gone", method="GET")
    assert (none.status, none.error["code"]) == (404, "model_not_found")
    head = await drive(app, path=f"{prefix}/models", method="HEAD")
    assert head.status == 200


async def test_a_key_sees_its_own_models_only() -> None:
    app = gateway(script("Hi"), agents=AGENTS, keys=KEYS)
    for secret, seen in (("k1", ["desk"]), ("k2", ["desk", "shop/v2"])):
        headers = {"authorization": f"Bearer {secret}"}
        answer = await drive(app, path="/v1/models", method="GET", headers=headers)
        assert [model["id"] for model in answer.json["data"]] == seen
        one = await drive(app, path="/v1/models/shop/v2", method="GET", headers=headers)
        assert one.status == (200 if "shop/v2" in seen else 404)


async def test_health_is_alive_and_ready_until_it_drains() -> None:
    app = gateway(script("Hi"))
    assert (await drive(app, path="/healthz", method="GET")).json == {"status": "ok"}
    async with running(app) as state:
        assert (await drive(app, path="/readyz", method="GET")).json == {"status": "ready"}
        state["drain"]()
        draining = await drive(app, path="/readyz", method="GET")
        assert (draining.status, draining.headers["retry-after"]) == (503, "1")
        assert (await drive(app, path="/healthz", method="GET")).status == 200


async def test_metrics_tell_the_two_latencies_apart() -> None:
    app = gateway(script(0.3, "Hi"))
    await ask(app)
    await ask(app, hang_up=0.1)
    await asyncio.sleep(1)
    await drive(app, b"{")
    text = (await drive(app, path="/metrics", method="GET")).body.decode()
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


async def test_the_openapi_document_describes_both_forms_of_asking() -> None:
    app = gateway(script("Hi"))
    document = (await drive(app, path="/openapi.json", method="GET")).json
    for path, id in (("/v1/chat/completions", "chat_completions"), ("/v1/responses", "responses")):
        operation = document["paths"][path]["post"]
        assert operation["operationId"] == id
        [content] = operation["requestBody"]["content"].values()
        assert (await drive(app, content["schema"]["example"], path=path)).status == 200
    assert {"/v1/models", "/v1/models/{id}", "/healthz", "/readyz", "/metrics"} <= document["paths"].keys()
    operations = [verb.get("operationId") for path in document["paths"].values() for verb in path.values()]
    assert len(operations) == len(set(operations))


@pytest.mark.parametrize(("path", "method", "status"), [("/nope", "GET", 404), ("/healthz", "POST", 405)])
async def test_what_is_not_there_is_refused_in_the_one_envelope(path: str, method: str, status: int) -> None:
    answer = await drive(gateway(script("Hi")), path=path, method=method)
    assert (answer.status, answer.error.keys()) == (status, {"message", "type", "param", "code"})


async def test_whoever_looks_with_a_browser_is_told_what_this_is_and_where_things_are() -> None:
    app = gateway(script("Hi"))
    about = (await drive(app, path="/", method="GET")).json
    assert (about.pop("name"), about.pop("version")) == ("voicegw", __version__)
    assert about == {
        "chat": "/v1/chat/completions",
        "responses": "/v1/responses",
        "models": "/v1/models",
        "documentation": "/docs",
    }
    assert (await ask(app, path=about["chat"])).status == 200
    assert (await ask(app, {"input": "Hello?"}, path=about["responses"])).status == 200
    for place in (about["models"], about["documentation"]):
        assert (await drive(app, path=place, method="GET")).status == 200


async def test_what_this_is_is_told_to_those_with_a_key_only() -> None:
    app = gateway(script("Hi"), agents=AGENTS, keys=KEYS)
    assert (await drive(app, path="/", method="GET")).status == 401
    assert (await drive(app, path="/", method="GET", headers={"authorization": "Bearer k1"})).status == 200


@pytest.mark.parametrize("path", ["/docs/", "/healthz/", "/v1/models/desk/"])
async def test_no_path_is_led_elsewhere(path: str) -> None:
    answer = await drive(gateway(script("Hi")), path=path, method="GET")
    assert (answer.status, "location" in answer.headers) == (404, False)
