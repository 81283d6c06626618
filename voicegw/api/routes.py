"""The paths of the API: both API formats under all common path variants, models, health and metrics."""

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
from voicegw.telemetry.turn_log import TurnLog
from voicegw.wire.json import dumps

PREFIXES = ("/v1", "", "/v1/v1")
"""Prefixes of the API's paths. They depend on the base URL that users configure."""


def _path_variants(suffix: str) -> tuple[str, ...]:
    """Return every path under which clients ask for `suffix`.

    Clients append it to a base URL that may hold it already, or append `/v1` to one that ends in it.
    """
    suffixes = (suffix, 2 * suffix, f"{suffix}/v1{suffix}")
    return tuple(map("".join, product(PREFIXES, suffixes, ("", "/"))))


CHAT_PATHS = _path_variants("/chat/completions")
"""All paths of chat completions, the usual one first."""
RESPONSES_PATHS = _path_variants("/responses")
"""All paths of the Responses API, the usual one first."""


def add_routes(app: FastAPI, dispatcher: Dispatcher, turn_log: TurnLog) -> None:
    """Add all routes except the two completion endpoints, which `GatewayMiddleware` routes itself."""
    for prefix in ("/v1", ""):
        _add_models(app, prefix, dispatcher)
    _add_health(app, dispatcher, turn_log)
    _add_operations(app)


def _add_models(app: FastAPI, prefix: str, dispatcher: Dispatcher) -> None:
    in_schema = bool(prefix)

    @app.head(f"{prefix}/models", include_in_schema=False)
    @app.get(f"{prefix}/models", include_in_schema=in_schema)
    async def list_models(request: Request) -> Response:
        """List the agents that the key may use, as models."""
        context: RequestContext = request.scope["voicegw"]
        return _json_response(models_json(dispatcher.agents.names_for(context.key)), context)

    @app.head(f"{prefix}/models/{{id:path}}", include_in_schema=False)
    @app.get(f"{prefix}/models/{{id:path}}", include_in_schema=in_schema)
    async def get_model(id: str, request: Request) -> Response:
        """Return one agent as a model."""
        context: RequestContext = request.scope["voicegw"]
        if id not in dispatcher.agents.names_for(context.key):
            raise ModelNotFound(
                f"The model '{id}' does not exist or you do not have access to it.", param="model"
            )
        return _json_response(model_json(id), context)


def _add_health(app: FastAPI, dispatcher: Dispatcher, turn_log: TurnLog) -> None:
    @app.head("/", include_in_schema=False)
    @app.get("/", include_in_schema=False)
    async def about(request: Request) -> Response:
        """Return the name, the version and the main paths, for users who open the address in a browser."""
        paths = {
            "chat": CHAT_PATHS[0],
            "responses": RESPONSES_PATHS[0],
            "models": "/v1/models",
            "documentation": "/docs",
        }
        return _json_response({"name": app.title, "version": app.version, **paths}, request.scope["voicegw"])

    @app.head("/healthz", include_in_schema=False)
    @app.get("/healthz")
    async def alive(request: Request) -> Response:
        """Return 200 while the process is alive."""
        return _json_response({"status": "ok"}, request.scope["voicegw"])

    @app.head("/readyz", include_in_schema=False)
    @app.get("/readyz")
    async def ready(request: Request) -> Response:
        """Return 200 while the gateway takes turns, 503 while it shuts down or lacks a resource."""
        if dispatcher.is_draining:
            raise ServiceUnavailable("The gateway is shutting down.", retry_after=1.0)
        if exhausted := turn_log.resources.exhausted:
            raise ServiceUnavailable(f"The gateway is out of {' and '.join(exhausted)}.", retry_after=1.0)
        return _json_response({"status": "ready"}, request.scope["voicegw"])

    @app.head("/metrics", include_in_schema=False)
    @app.get("/metrics")
    async def prometheus(request: Request) -> Response:
        """Return the Prometheus metrics of all workers."""
        body, media_type = turn_log.metrics.render()
        return Response(body, media_type=media_type)


def _json_response(value: dict[str, Any], context: RequestContext) -> Response:
    return Response(dumps(value), headers={"x-request-id": context.id}, media_type="application/json")


def _add_operations(app: FastAPI) -> None:
    """Add the completion endpoints to the OpenAPI document, since FastAPI does not know their routes."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        document["paths"].setdefault(CHAT_PATHS[0], {"post": CHAT_OPERATION})
        document["paths"].setdefault(RESPONSES_PATHS[0], {"post": RESPONSES_OPERATION})
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def model_json(name: str) -> dict[str, Any]:
    """Return an agent as OpenAI's model object."""
    return {"id": name, "object": "model", "created": 0, "owned_by": "voicegw"}


def models_json(names: Iterable[str]) -> dict[str, Any]:
    """Return agents as OpenAI's list of models."""
    return {"object": "list", "data": [model_json(name) for name in names]}
