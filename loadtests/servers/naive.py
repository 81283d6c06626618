"""The baseline of the comparison: the usual sample server.

    python -m loadtests.servers.naive --port 9003 --upstream http://127.0.0.1:9001/v1

It is FastAPI, the OpenAI SDK and StreamingResponse. It has no acknowledgements, keys, limits, cancellation,
metrics or filters: it is the least code that streams an answer.
"""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator
from typing import Any, cast

import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from openai import AsyncOpenAI
from pydantic import BaseModel


class ChatRequest(BaseModel):
    """The body of a chat request."""

    model: str
    messages: list[dict[str, Any]]
    stream: bool = True
    temperature: float = 1.0


def create_app(upstream: str) -> FastAPI:
    """Return the server in front of the upstream at this base URL."""
    app = FastAPI()
    client = AsyncOpenAI(base_url=upstream, api_key="none")

    @app.post("/v1/chat/completions")
    async def chat(request: ChatRequest) -> StreamingResponse:
        chunks = await client.chat.completions.create(
            model=request.model,
            messages=cast(Any, request.messages),
            temperature=request.temperature,
            stream=True,
        )

        async def lines() -> AsyncIterator[str]:
            async for chunk in chunks:
                yield f"data: {chunk.model_dump_json()}\n\n"
            yield "data: [DONE]\n\n"

        return StreamingResponse(lines(), media_type="text/event-stream")

    return app


def main() -> None:
    options = argparse.ArgumentParser(description="Run the usual sample server.")
    options.add_argument("--port", type=int, required=True, help="port on 127.0.0.1")
    options.add_argument("--upstream", required=True, help="base URL of the upstream")
    args = options.parse_args()
    uvicorn.run(create_app(args.upstream), port=args.port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
