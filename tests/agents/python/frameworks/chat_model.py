"""A fake chat model of LangChain: it gives fixed answers and records its requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from pydantic import Field


class FakeChatModel(BaseChatModel):
    """Gives `answers` in order, each a list of pieces; None in it waits until it is cancelled."""

    answers: list[Any]
    requests: list[list[tuple[str, str]]] = Field(default_factory=list)
    bound_tools: list[Any] = Field(default_factory=list)
    log: list[str] = Field(default_factory=list)
    waiting: Any = None

    @property
    def _llm_type(self) -> str:
        return "fake"

    def _generate(self, *_: Any, **__: Any) -> ChatResult:
        raise NotImplementedError

    def bind_tools(self, tools: Sequence[Any], **options: Any) -> Any:
        self.bound_tools.append([tool["function"]["name"] for tool in tools])
        return self

    async def _astream(
        self, messages: list[BaseMessage], *_: Any, **__: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        self.requests.append([(message.type, str(message.text)) for message in messages])
        for piece in self.answers.pop(0):
            if piece is None:
                await self._wait()
            chunk = piece if isinstance(piece, AIMessageChunk) else AIMessageChunk(piece or "")
            yield ChatGenerationChunk(message=chunk)

    async def _wait(self) -> None:
        self.waiting.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.log.append("stopped")
            raise


def tool_call_pieces(name: str, arguments: str = "{}") -> list[AIMessageChunk | str | None]:
    """Return a tool call in two pieces, with its usage."""
    first = {"name": name, "args": "", "id": "c1", "index": 0, "type": "tool_call_chunk"}
    rest = {"name": None, "args": arguments, "id": None, "index": 0, "type": "tool_call_chunk"}
    usage = {
        "input_tokens": 5,
        "output_tokens": 2,
        "total_tokens": 7,
        "input_token_details": {"cache_read": 3},
    }
    return [
        AIMessageChunk("", tool_call_chunks=[first]),
        AIMessageChunk("", tool_call_chunks=[rest], usage_metadata=usage),
    ]
