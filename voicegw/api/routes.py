"""The routes: both forms of asking under every path that users paste, models, health and metrics."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import Any

from fastapi import FastAPI, Request
from starlette.responses import Response

from voicegw.api.openapi import CHAT_OPERATION, RESPONSES_OPERATION
from voicegw.asgi.context import RequestContext
from voicegw.conversations.dispatcher import Dispatcher
from voicegw.errors import ModelNotFound, ServiceUnavailable
from voicegw.telemetry.metrics import Metrics
from voicegw.wire.json import dumps

PREFIXES = ("/v1", "", "/v1/v1")


def _paths(suffix: str) -> tuple[str, ...]:
    """Clients append the suffix to a base URL that may hold it already, or `/v1` to one that ends in it."""
    doubled = (suffix, 2 * suffix, f"{suffix}/v1{suffix}")
    return tuple(map("".join, product(PREFIXES, doubled, ("", "/"))))


CHAT_PATHS = _paths("/chat/completions")
RESPONSES_PATHS = _paths("/responses")


def add_routes(app: FastAPI, switchboard: Dispatcher, metrics: Metrics) -> None:
    """All routes but the two where agents are asked, which the entrance takes itself."""
    for prefix in ("/v1", ""):
        _add_models(app, prefix, switchboard)
    _add_health(app, switchboard, metrics)
    _document(app)


def _add_models(app: FastAPI, prefix: str, switchboard: Dispatcher) -> None:
    shown = bool(prefix)

    @app.head(f"{prefix}/models", include_in_schema=False)
    @app.get(f"{prefix}/models", include_in_schema=shown)
    async def list_models(request: Request) -> Response:
        """The agents that the key may use, as models."""
        visit: RequestContext = request.scope["voicegw"]
        return _json(models_json(switchboard.agents.names_for(visit.key)), visit)

    @app.head(f"{prefix}/models/{{id:path}}", include_in_schema=False)
    @app.get(f"{prefix}/models/{{id:path}}", include_in_schema=shown)
    async def get_model(id: str, request: Request) -> Response:
        """One agent as a model."""
        visit: RequestContext = request.scope["voicegw"]
        if id not in switchboard.agents.names_for(visit.key):
            raise ModelNotFound(
                f"The model '{id}' does not exist or you do not have access to it.", param="model"
            )
        return _json(model_json(id), visit)


def _add_health(app: FastAPI, switchboard: Dispatcher, metrics: Metrics) -> None:
    @app.get("/", include_in_schema=False)
    async def about(request: Request) -> Response:
        """What this is, for whoever looks with a browser."""
        places = {
            "chat": CHAT_PATHS[0],
            "responses": RESPONSES_PATHS[0],
            "models": "/v1/models",
            "documentation": "/docs",
        }
        return _json({"name": app.title, "version": app.version, **places}, request.scope["voicegw"])

    @app.get("/healthz")
    async def alive(request: Request) -> Response:
        """The process is alive."""
        return _json({"status": "ok"}, request.scope["voicegw"])

    @app.get("/readyz")
    async def ready(request: Request) -> Response:
        """The gateway takes turns; 503 while it shuts down."""
        if switchboard.draining:
            raise ServiceUnavailable("The gateway is shutting down.", retry_after=1.0)
        return _json({"status": "ready"}, request.scope["voicegw"])

    @app.get("/metrics")
    async def prometheus(request: Request) -> Response:
        """Prometheus metrics of all workers."""
        body, media_type = metrics.render()
        return Response(body, media_type=media_type)


def _json(value: dict[str, Any], visit: RequestContext) -> Response:
    return Response(dumps(value), headers={"x-request-id": visit.id}, media_type="application/json")


def _document(app: FastAPI) -> None:
    """Describe the endpoints that FastAPI cannot see in the OpenAPI document."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        document["paths"].setdefault(CHAT_PATHS[0], {"post": CHAT_OPERATION})
        document["paths"].setdefault(RESPONSES_PATHS[0], {"post": RESPONSES_OPERATION})
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def model_json(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "voicegw"}


def models_json(names: Iterable[str]) -> dict[str, Any]:
    return {"object": "list", "data": [model_json(name) for name in names]}
