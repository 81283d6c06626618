"""The ASGI layer: uvicorn's protocols, the middleware, request bodies, error responses and webhooks."""
