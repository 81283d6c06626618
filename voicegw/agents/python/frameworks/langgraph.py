"""Adapts a compiled LangGraph graph with `messages` in its state, called by `astream`.

Without a checkpointer, the turn's messages are the whole history. With one, each call is a thread that also
remembers the results of tools, so it gets only what is new, and nothing twice: a turn that is asked again
replaces its answer, and a reminder adds a prompt. A tool call without a result, which an interruption leaves,
is removed before the next turn. An answer that the caller heard in part is cut to that part.

A node that calls `interrupt(question)` asks the caller: the question is spoken, and the words of the next
turn are the result of `interrupt`. See "Human-in-the-loop" in LangGraph's documentation.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, RemoveMessage, ToolMessage
from langgraph.types import Command, StateSnapshot

from voicegw.agents.model_history import valid_history
from voicegw.agents.python.frameworks.detect import reject_unknown_options
from voicegw.agents.python.frameworks.langchain import MessageConverter, convert_messages
from voicegw.errors import AgentError, ConfigError
from voicegw.events import Turn
from voicegw.turns.prompts import SILENCE_PROMPT

QUESTION_KEYS = ("question", "message", "prompt", "query", "text", "description")
"""The keys of an interrupt's value that may hold its question, if the value is a mapping."""
MAX_CUT_ANSWERS = 10_000
"""Threads whose answer was under way when their turn ended that are remembered; the oldest is forgotten."""
ANSWER_COUNT = "voicegw_answers"
"""The key, in the metadata of a checkpoint, of how many messages of the caller the thread does not store,
because they answered its questions."""


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
    cut_answers: dict[str, None] = {}

    async def reply(turn: Turn) -> AsyncGenerator[Any, None]:
        id = turn.call or turn.id
        config: dict[str, Any] = {"configurable": {"thread_id": id}}
        async with forget_if_no_call(graph, turn):
            stored = await graph.aget_state(config) if graph.checkpointer else None
            question = "" if stored is None or id in cut_answers else find_question(stored)
            cut_answers.pop(id, None)
            if question and not has_answer(stored, turn):
                yield question
                return
            if question:
                remember(cut_answers, id)
            graph_input, answer_count = make_input(stored, question, turn)
            config["metadata"] = {ANSWER_COUNT: answer_count}
            async with aclosing(run_graph(graph, graph_input, config, nodes)) as events:
                async for event in events:
                    yield event
            cut_answers.pop(id, None)

    return reply


async def run_graph(
    graph: Any, graph_input: Any, config: dict[str, Any], nodes: Sequence[str] | None
) -> AsyncGenerator[Any, None]:
    """Run the graph and yield its events, at last the question of an interrupt, and the usage.

    Raises `AgentError` for an interrupt without a text.
    """
    stream, has_spoken, is_interrupted = MessageConverter(), False, False
    modes = ["messages", "updates"]
    async with aclosing(graph.astream(graph_input, config, stream_mode=modes)) as pieces:
        async for mode, piece in pieces:
            if mode == "updates":
                is_interrupted = is_interrupted or "__interrupt__" in piece
                continue
            message, metadata = piece
            if isinstance(message, AIMessage):
                speaks = nodes is None or metadata["langgraph_node"] in nodes
                for event in stream.feed(message):
                    if speaks or not isinstance(event, str):
                        has_spoken = has_spoken or isinstance(event, str)
                        yield event
    if is_interrupted:
        question = find_question(await graph.aget_state(config))
        if not question:
            raise AgentError("the graph waits for an answer, but its interrupt holds no text to ask")
        yield f"\n\n{question}" if has_spoken else question
    for event in stream.finish():
        yield event


def find_question(stored: StateSnapshot) -> str:
    """Return the question that a thread waits for; "" if there is none, or if it has no text."""
    value = stored.interrupts[0].value if stored.interrupts else ""
    if isinstance(value, Mapping):
        value = next((value[key] for key in QUESTION_KEYS if value.get(key)), "")
    return value if isinstance(value, str) else ""


def make_input(stored: StateSnapshot | None, question: str, turn: Turn) -> tuple[Any, int]:
    """Return the input of the graph, and `ANSWER_COUNT` after it.

    The input is the answer to the question of the thread, or without one the messages that are new to it.
    """
    if stored is None:
        return {"messages": new_messages(None, turn)}, 0
    if not question:
        # A prompt stands in the thread for words that the caller did not say.
        prompt_count = int(is_reminder_to(stored, turn))
        return {"messages": new_messages(stored, turn)}, count_answers(stored) - prompt_count
    return Command(resume={stored.interrupts[0].id: turn.said}), count_user(turn) - count_human(stored)


def has_answer(stored: StateSnapshot, turn: Turn) -> bool:
    """Whether the turn has words of the caller that the thread does not know."""
    return turn.kind != "reminder" and count_user(turn) > count_human(stored) + count_answers(stored)


def remember(cut_answers: dict[str, None], id: str) -> None:
    """Note that an answer is under way in a thread.

    If its turn is interrupted, LangGraph keeps the answer and would take the next one for a later question.
    The next turn is therefore a message. Beyond `MAX_CUT_ANSWERS` the oldest is forgotten.
    """
    cut_answers[id] = None
    if len(cut_answers) > MAX_CUT_ANSWERS:
        del cut_answers[next(iter(cut_answers))]


def count_answers(stored: StateSnapshot) -> int:
    """Return `ANSWER_COUNT` of a thread."""
    return int((stored.metadata or {}).get(ANSWER_COUNT) or 0)


def count_user(turn: Turn) -> int:
    """Return how many messages of the caller the turn has."""
    return sum(message.role == "user" for message in turn.messages)


def count_human(stored: StateSnapshot) -> int:
    """Return how many messages of the caller the thread stores."""
    return sum(isinstance(message, HumanMessage) for message in stored.values.get("messages", ()))


@asynccontextmanager
async def forget_if_no_call(graph: Any, turn: Turn) -> AsyncGenerator[None, None]:
    """Delete the thread of a turn without a call at exit: no later turn continues it."""
    try:
        yield
    finally:
        if turn.call is None and graph.checkpointer:
            with suppress(NotImplementedError):  # some checkpointers cannot delete
                await graph.checkpointer.adelete_thread(turn.id)


def new_messages(stored: StateSnapshot | None, turn: Turn) -> list[AnyMessage | RemoveMessage]:
    """Return the messages that the graph's thread does not have, and removals of unfinished tool calls."""
    messages: Sequence[AnyMessage] = () if stored is None else stored.values.get("messages", ())
    if stored is None or not messages:
        # A thread counts the caller's messages (`count_known`), so it stores each as the platform sent it.
        return [*convert_messages(valid_history(turn.messages) if stored is None else turn.messages)]
    unfinished = find_unfinished(messages)
    removals = [RemoveMessage(id=id) for id in unfinished]
    left = [message for message in messages if message.id not in unfinished]
    if is_reminder_to(stored, turn):
        return [*removals, HumanMessage(SILENCE_PROMPT)]
    if is_repetition(stored, turn):
        return [*removals, *(RemoveMessage(id=id) for id in ids_after_human(left))]
    is_answered = bool(left) and isinstance(left[-1], AIMessage)
    known_count = count_human(stored) + count_answers(stored)
    new = turn.messages[count_known(known_count, is_answered, turn) :]
    dialog = [message for message in new if message.role not in ("system", "developer")]
    cut = cut_answer(left[-1], turn.heard) if is_answered and turn.heard is not None else []
    return [*removals, *cut, *convert_messages(dialog)]


def is_reminder_to(stored: StateSnapshot, turn: Turn) -> bool:
    """Whether the caller said nothing since the answer that ends the thread."""
    messages = stored.values.get("messages", ())
    has_new_words = count_user(turn) != count_human(stored) + count_answers(stored)
    ends_with_user = bool(turn.messages) and turn.messages[-1].role == "user"
    return bool(messages) and not has_new_words and (turn.kind == "reminder" or not ends_with_user)


def is_repetition(stored: StateSnapshot, turn: Turn) -> bool:
    """Whether the caller's last words end the thread already, because their turn is asked again."""
    said = [message.text for message in stored.values["messages"] if isinstance(message, HumanMessage)]
    has_new_words = count_user(turn) != count_human(stored) + count_answers(stored)
    return not has_new_words and said[-1:] == [turn.said]


def ids_after_human(messages: Sequence[AnyMessage]) -> list[str]:
    """Return the ids of the messages behind the last one of the caller: those of the answer to it."""
    humans = [index for index, message in enumerate(messages) if isinstance(message, HumanMessage)]
    return [message.id for message in messages[humans[-1] + 1 :] if message.id]


def cut_answer(answer: AnyMessage, heard: str) -> list[AnyMessage | RemoveMessage]:
    """Return what replaces, by its id, an answer that the caller heard in part, or removes an unheard one."""
    if not heard.strip():
        return [RemoveMessage(id=answer.id or "")]
    return [answer.model_copy(update={"content": heard})]


def count_known(user_count: int, is_answered: bool, turn: Turn) -> int:
    """Return how many of the turn's messages the thread has.

    These are the first `user_count` messages of the caller, and the answer to the last of them if
    `is_answered`. The caller's last message is always new.
    """
    indexes = [index for index, message in enumerate(turn.messages) if message.role == "user"]
    last = indexes[-1] if indexes else 0
    if not 0 < user_count < len(indexes):
        return last
    return indexes[user_count] if is_answered else indexes[user_count - 1] + 1


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
