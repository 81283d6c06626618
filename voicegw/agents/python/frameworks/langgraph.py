"""A compiled LangGraph graph with `messages` in its state, asked by `astream`.

Without a checkpointer the turn's messages are all that it knows. With one, a call is a thread of its own
that remembers more, so that it is told only what is new; what an interruption left half done there, a call
of a tool that nobody answered, is taken out first.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, RemoveMessage, ToolMessage

from voicegw.agents.python.frameworks.detect import only
from voicegw.agents.python.frameworks.langchain import GraphStream, converted
from voicegw.errors import ConfigError
from voicegw.events import Turn


def adapt(found: Any, options: Mapping[str, Any]) -> Callable[[Turn], AsyncGenerator[Any, None]]:
    """`nodes` names those whose models speak to the caller; all do without it."""
    only(options, "nodes")
    nodes = options.get("nodes")
    if "messages" not in found.channels:
        raise ConfigError("its state has no `messages`")
    for node in nodes or ():
        if node not in found.nodes:
            raise ConfigError(f'it has no node "{node}"; its nodes: {", ".join(found.nodes)}')

    async def reply(turn: Turn) -> AsyncGenerator[Any, None]:
        config = {"configurable": {"thread_id": turn.call or turn.id}}
        answer = GraphStream()
        async with remembering(found, turn):
            given = {"messages": await news(found, config, turn)}
            async with aclosing(found.astream(given, config, stream_mode="messages")) as pieces:
                async for message, place in pieces:
                    if isinstance(message, AIMessage):
                        for told in answer.hear(message):
                            if not isinstance(told, str) or nodes is None or place["langgraph_node"] in nodes:
                                yield told
        for told in answer.end():
            yield told

    return reply


@asynccontextmanager
async def remembering(graph: Any, turn: Turn) -> AsyncGenerator[None, None]:
    """What a turn of no call left in the checkpointer is forgotten: nobody comes back to it."""
    try:
        yield
    finally:
        if turn.call is None and graph.checkpointer:
            with suppress(NotImplementedError):  # not every checkpointer can
                await graph.checkpointer.adelete_thread(turn.id)


async def news(graph: Any, config: dict[str, Any], turn: Turn) -> list[AnyMessage | RemoveMessage]:
    """What the graph has to be told, given what it remembers."""
    kept: Sequence[AnyMessage] = ()
    if graph.checkpointer:
        kept = (await graph.aget_state(config)).values.get("messages", ())
    if not kept:
        return [*converted(turn.messages)]
    half = half_done(kept)
    left = [message for message in kept if message.id not in half]
    answered = bool(left) and isinstance(left[-1], AIMessage)
    new = turn.messages[known(kept, answered, turn) :]
    spoken = [message for message in new if message.role not in ("system", "developer")]
    return [*(RemoveMessage(id=id) for id in half), *converted(spoken)]


def known(kept: Sequence[AnyMessage], answered: bool, turn: Turn) -> int:
    """How many of the turn's messages the graph has: as many of the caller's, and, if given, their answer.

    What the caller said last is always news.
    """
    users = [at for at, message in enumerate(turn.messages) if message.role == "user"]
    had = sum(isinstance(message, HumanMessage) for message in kept)
    last = users[-1] if users else 0
    if not 0 < had < len(users):
        return last
    return users[had] if answered else users[had - 1] + 1


def half_done(messages: Iterable[AnyMessage]) -> list[str]:
    """The ids of calls of tools without an answer, and of what belongs to them."""
    messages = list(messages)
    answered = {message.tool_call_id for message in messages if isinstance(message, ToolMessage)}
    asking = [m for m in messages if isinstance(m, AIMessage) and {c["id"] for c in m.tool_calls} - answered]
    calls = {call["id"] for message in asking for call in message.tool_calls}
    parts = [m for m in messages if isinstance(m, ToolMessage) and m.tool_call_id in calls]
    return [message.id for message in (*asking, *parts) if message.id]
