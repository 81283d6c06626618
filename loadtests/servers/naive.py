"""The baseline: the sample server that most people start from, and many stay with.

    python -m loadtests.servers.naive --port 9003 --upstream http://127.0.0.1:9001/v1

FastAPI, the OpenAI SDK and StreamingResponse, no more. It says nothing before its agent does, and it
has no keys, limits, cancellation, metrics or filter: it is the least that somebody writes.
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


class Ask(BaseModel):
    model: str
    messages: list[dict[str, Any]]
    stream: bool = True
    temperature: float = 1.0


def create_app(upstream: str) -> FastAPI:
    """The server in front of the upstream with this base URL."""
    app = FastAPI()
    client = AsyncOpenAI(base_url=upstream, api_key="none")

    @app.post("/v1/chat/completions")
    async def chat(ask: Ask) -> StreamingResponse:
        chunks = await client.chat.completions.create(
            model=ask.model, messages=cast(Any, ask.messages), temperature=ask.temperature, stream=True
        )

        async def lines() -> AsyncIterator[str]:
            async for chunk in chunks:
                yield f"data: {chunk.model_dump_json()}\n\n"
            yield "data: [DONE]\n\n"

        return StreamingResponse(lines(), media_type="text/event-stream")

    return app


def main() -> None:
    options = argparse.ArgumentParser(description="The usual sample server.")
    options.add_argument("--port", type=int, required=True)
    options.add_argument("--upstream", required=True)
    args = options.parse_args()
    uvicorn.run(create_app(args.upstream), port=args.port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
