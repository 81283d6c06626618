"""A chat model of LangChain that says what it was given to say, and remembers what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from pydantic import Field


class Chatting(BaseChatModel):
    """`lines` are answers in turn, each a list of pieces; a `None` waits until it is cancelled."""

    lines: list[Any]
    asked: list[list[tuple[str, str]]] = Field(default_factory=list)
    bound: list[Any] = Field(default_factory=list)
    log: list[str] = Field(default_factory=list)
    waiting: Any = None

    @property
    def _llm_type(self) -> str:
        return "chatting"

    def _generate(self, *_: Any, **__: Any) -> ChatResult:
        raise NotImplementedError

    def bind_tools(self, tools: Sequence[Any], **how: Any) -> Any:
        self.bound.append([tool["function"]["name"] for tool in tools])
        return self

    async def _astream(
        self, messages: list[BaseMessage], *_: Any, **__: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        self.asked.append([(message.type, str(message.text)) for message in messages])
        for piece in self.lines.pop(0):
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


def calling(name: str, arguments: str = "{}") -> list[AIMessageChunk | str | None]:
    """A call of a tool, in two pieces, and what it cost."""
    first = {"name": name, "args": "", "id": "c1", "index": 0, "type": "tool_call_chunk"}
    rest = {"name": None, "args": arguments, "id": None, "index": 0, "type": "tool_call_chunk"}
    used = {
        "input_tokens": 5,
        "output_tokens": 2,
        "total_tokens": 7,
        "input_token_details": {"cache_read": 3},
    }
    return [
        AIMessageChunk("", tool_call_chunks=[first]),
        AIMessageChunk("", tool_call_chunks=[rest], usage_metadata=used),
    ]
