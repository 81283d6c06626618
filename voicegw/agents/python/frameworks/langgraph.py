"""Adapts a compiled LangGraph graph with `messages` in its state, called by `astream`.

Without a checkpointer, the turn's messages are the whole history. With one, each call is a thread that also
remembers the results of tools, so it gets only what is new. An interruption can leave a tool call without a
result in the thread; such a call is removed before the next turn.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, RemoveMessage, ToolMessage

from voicegw.agents.python.frameworks.detect import reject_unknown_options
from voicegw.agents.python.frameworks.langchain import MessageConverter, convert_messages
from voicegw.errors import ConfigError
from voicegw.events import Turn


def adapt(graph: Any, options: Mapping[str, Any]) -> Callable[[Turn], AsyncGenerator[Any, None]]:
    """Return the function that answers a turn by `graph`.

    The option `nodes` names the nodes whose models speak to the caller; without it, all do. Raises
    `ConfigError` for another option, an unknown node, or a state without `messages`.
    """
    reject_unknown_options(options, "nodes")
    nodes = options.get("nodes")
    if "messages" not in graph.channels:
        raise ConfigError("its state has no `messages`")
    for node in nodes or ():
        if node not in graph.nodes:
            raise ConfigError(f'it has no node "{node}"; its nodes: {", ".join(graph.nodes)}')

    async def reply(turn: Turn) -> AsyncGenerator[Any, None]:
        config = {"configurable": {"thread_id": turn.call or turn.id}}
        stream = MessageConverter()
        async with forget_if_no_call(graph, turn):
            state = {"messages": await new_messages(graph, config, turn)}
            async with aclosing(graph.astream(state, config, stream_mode="messages")) as pieces:
                async for message, metadata in pieces:
                    if isinstance(message, AIMessage):
                        speaks = nodes is None or metadata["langgraph_node"] in nodes
                        for event in stream.feed(message):
                            if speaks or not isinstance(event, str):
                                yield event
        for event in stream.finish():
            yield event

    return reply


@asynccontextmanager
async def forget_if_no_call(graph: Any, turn: Turn) -> AsyncGenerator[None, None]:
    """Delete the thread of a turn without a call at exit: no later turn continues it."""
    try:
        yield
    finally:
        if turn.call is None and graph.checkpointer:
            with suppress(NotImplementedError):  # some checkpointers cannot delete
                await graph.checkpointer.adelete_thread(turn.id)


async def new_messages(graph: Any, config: dict[str, Any], turn: Turn) -> list[AnyMessage | RemoveMessage]:
    """Return the messages that the graph's thread does not have, and removals of unfinished tool calls."""
    stored: Sequence[AnyMessage] = ()
    if graph.checkpointer:
        stored = (await graph.aget_state(config)).values.get("messages", ())
    if not stored:
        return [*convert_messages(turn.messages)]
    unfinished = find_unfinished(stored)
    left = [message for message in stored if message.id not in unfinished]
    is_answered = bool(left) and isinstance(left[-1], AIMessage)
    new = turn.messages[count_known(stored, is_answered, turn) :]
    dialog = [message for message in new if message.role not in ("system", "developer")]
    return [*(RemoveMessage(id=id) for id in unfinished), *convert_messages(dialog)]


def count_known(stored: Sequence[AnyMessage], is_answered: bool, turn: Turn) -> int:
    """Return how many of the turn's messages the thread has.

    These are as many messages of the caller as it stores, and the answer to the last of them if
    `is_answered`. The caller's last message is always new.
    """
    indexes = [index for index, message in enumerate(turn.messages) if message.role == "user"]
    stored_count = sum(isinstance(message, HumanMessage) for message in stored)
    last = indexes[-1] if indexes else 0
    if not 0 < stored_count < len(indexes):
        return last
    return indexes[stored_count] if is_answered else indexes[stored_count - 1] + 1


def find_unfinished(messages: Iterable[AnyMessage]) -> list[str]:
    """Return the ids of messages that call a tool without a result, and of the other results for them."""
    messages = list(messages)
    with_result = {message.tool_call_id for message in messages if isinstance(message, ToolMessage)}
    calling = [
        message
        for message in messages
        if isinstance(message, AIMessage) and {call["id"] for call in message.tool_calls} - with_result
    ]
    call_ids = {call["id"] for message in calling for call in message.tool_calls}
    results = [m for m in messages if isinstance(m, ToolMessage) and m.tool_call_id in call_ids]
    return [message.id for message in (*calling, *results) if message.id]
