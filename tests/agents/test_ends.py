"""Every kind of model against servers that end an answer late, without a mark, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing

import orjson
import pytest

from tests.agents.bedrock.frames import HI_DELTA, message_stop, metadata
from tests.agents.upstream import Action, Piece, Upstream, chunk, chunked_head, wait_until
from voicegw.agents.anthropic.agent import AnthropicAgent
from voicegw.agents.bedrock.agent import BedrockAgent
from voicegw.agents.client.response import END_TIMEOUTS
from voicegw.agents.finish_reasons import AnswerState
from voicegw.agents.hermes.agent import HermesAgent
from voicegw.agents.openai.agent import OpenAIAgent
from voicegw.errors import AgentError, AgentProtocolError
from voicegw.events import REASONING, Activity, Agent, Event, Finish, Message, Tool, ToolCall, Turn, Usage

pytestmark = pytest.mark.wire

TURN = Turn("t1", (Message("user", "Hi"),), tools=(Tool("find_table"),))
STREAM = chunked_head("content-type: text/event-stream")
AMAZON_STREAM = chunked_head("content-type: application/vnd.amazon.eventstream")
PAUSE = END_TIMEOUTS[AnswerState.ENDED] * 1.4
"""A pause of a server in seconds, longer than the rest of an answer that has ended may take."""
HEARTBEATS: tuple[Piece | Action, ...] = (*[chunk(b": ping\n\n"), 0.05] * 40, Action.HANG)


def sse(*values: object) -> bytes:
    return b"".join(b"data: %b\n\n" % orjson.dumps(value) for value in values)


def delta(reason: str | None = None, **fields: object) -> dict[str, object]:
    return {"choices": [{"delta": fields, "finish_reason": reason}]}


CHAT_END = sse(delta(content="Hi"), delta("length"))
CHAT_USAGE = sse({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}})
MESSAGES_END = sse(
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}},
    {"type": "message_delta", "delta": {"stop_reason": "max_tokens"}},
)
MESSAGES_USAGE = sse({"type": "message_delta", "delta": {}, "usage": {"input_tokens": 1, "output_tokens": 2}})
KINDS: dict[str, tuple[Callable[[str], Agent], bytes, bytes, bytes]] = {
    "openai": (lambda url: OpenAIAgent(url), STREAM, CHAT_END, CHAT_USAGE),
    "anthropic": (lambda url: AnthropicAgent(url, model="m"), STREAM, MESSAGES_END, MESSAGES_USAGE),
    "bedrock": (
        lambda url: BedrockAgent("eu-west-1", "m", key="k", url=url),
        AMAZON_STREAM,
        HI_DELTA + message_stop("max_tokens"),
        metadata(1, 2),
    ),
}
"""For each kind: makes the agent; the head of a stream, an answer without the last mark, its token usage."""


async def reply_of(agent: Agent) -> list[Event]:
    async with aclosing(agent.reply(TURN)) as events:
        return [event async for event in events if event != REASONING]


async def reply_to(make: Callable[[str], Agent], *reply: Piece | Action) -> list[Event]:
    """Return the events of a reply that must end soon and close its connection."""
    async with Upstream(reply) as upstream:
        agent = make(upstream.url)
        started = asyncio.get_running_loop().time()
        events = await reply_of(agent)
        assert asyncio.get_running_loop().time() - started < END_TIMEOUTS[AnswerState.ENDED] + 0.4
        await wait_until(lambda: upstream.ended_connections == 1)
        await agent.aclose()
        return events


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("beats", [False, True], ids=["silence", "heartbeats"])
async def test_answer_ends_although_its_server_keeps_the_connection_open(kind: str, beats: bool) -> None:
    make, head, end, usage = KINDS[kind]
    rest = HEARTBEATS if beats and kind != "bedrock" else (Action.HANG,)
    assert await reply_to(make, head, chunk(end), *rest) == ["Hi", Finish("length")]
    late = (0.1, chunk(usage), *rest)
    assert await reply_to(make, head, chunk(end), *late) == ["Hi", Usage(1, 2), Finish("length")]


async def test_pings_in_an_open_block_do_not_delay_the_end() -> None:
    thinking = {"type": "content_block_start", "index": 1, "content_block": {"type": "thinking"}}
    pings: tuple[Piece | Action, ...] = (*[chunk(sse({"type": "ping"})), 0.05] * 40, Action.HANG)
    make = KINDS["anthropic"][0]
    assert await reply_to(make, STREAM, chunk(sse(thinking) + MESSAGES_END), *pings) == [
        "Hi",
        Finish("length"),
    ]


async def test_chat_of_hermes_ends_with_its_reason() -> None:
    def make(url: str) -> Agent:
        return HermesAgent(url, mode="chat")

    assert await reply_to(make, STREAM, chunk(CHAT_END), Action.HANG) == ["Hi", Finish("length")]


@pytest.mark.parametrize("has_role", [True, False])
async def test_reason_in_each_chunk_ends_nothing(has_role: bool) -> None:
    pieces = [sse(delta("stop", content="One, "))]
    pieces += [sse(delta("stop", tool_calls=[{"index": 0, "id": "a", "function": {"name": "f"}}]))]
    pieces += [
        sse(delta("stop", tool_calls=[{"index": 0, "function": {"arguments": text}}]))
        for text in ('{"q"', ":1}")
    ]
    pieces += [sse(delta("stop", content="two."))]
    role = [sse(delta(role="assistant", content=""))] if has_role else []
    slow = [step for piece in [*role, *pieces] for step in (chunk(piece), PAUSE)]
    async with Upstream((STREAM, *slow, chunk(b"data: [DONE]\n\n"), Action.HANG)) as upstream:
        agent = OpenAIAgent(upstream.url)
        events = await reply_of(agent)
        await agent.aclose()
    assert events == ["One, ", "two.", ToolCall("a", "f", '{"q":1}'), Finish("tool_calls")]


@pytest.mark.parametrize("goes_on", [True, False])
async def test_answer_whose_only_chunks_have_a_reason_ends_later(
    goes_on: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(END_TIMEOUTS, AnswerState.MAYBE_ENDED, PAUSE * 1.2)
    rest = (PAUSE, chunk(sse(delta("length", content=" there"))), Action.HANG) if goes_on else (Action.HANG,)
    async with Upstream((STREAM, chunk(sse(delta("length", content="Hi"))), *rest)) as upstream:
        agent = OpenAIAgent(upstream.url)
        assert await reply_of(agent) == ["Hi", *([" there"] if goes_on else []), Finish("length")]
        await agent.aclose()


async def test_reason_beside_the_last_words_ends_an_answer() -> None:
    pieces = sse(delta(content="H"), delta("length", content="i"))
    *texts, end = await reply_to(OpenAIAgent, STREAM, chunk(pieces), Action.HANG)
    assert ("".join(map(str, texts)), end) == ("Hi", Finish("length"))


async def test_words_after_a_reason_lift_its_limit() -> None:
    pieces = [chunk(CHAT_END), 0.2, chunk(sse(delta(content=" there"))), PAUSE, chunk(sse(delta("stop")))]
    async with Upstream((STREAM, *pieces, Action.HANG)) as upstream:
        agent = OpenAIAgent(upstream.url)
        assert await reply_of(agent) == ["Hi", " there", Finish("stop")]
        await agent.aclose()


async def test_answer_goes_on_after_tools_that_the_server_runs() -> None:
    called = {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}
    pieces = [chunk(sse(delta(tool_calls=[called]), delta("tool_calls"))), PAUSE, chunk(CHAT_END)]
    async with Upstream((STREAM, *pieces, chunk(b""))) as upstream:
        agent = OpenAIAgent(upstream.url, tools_run_by="server")
        assert await reply_of(agent) == [Activity("f"), "Hi", Finish("length")]
        await agent.aclose()


@pytest.mark.parametrize("end", [(chunk(b""),), (Action.CLOSE,), (Action.RESET,)], ids=str)
async def test_call_without_arguments_needs_a_certain_end(end: tuple[Piece | Action, ...]) -> None:
    call = {"index": 0, "id": "a", "function": {"name": "f"}}
    for reason in (None, "tool_calls"):
        async with Upstream((STREAM, chunk(sse(delta(reason, tool_calls=[call]))), *end)) as upstream:
            agent = OpenAIAgent(upstream.url)
            with pytest.raises(AgentProtocolError):
                await reply_of(agent)
            await agent.aclose()
    whole = sse(delta(tool_calls=[call]), delta("tool_calls"))
    async with Upstream((STREAM, chunk(whole), *end)) as upstream:
        agent = OpenAIAgent(upstream.url)
        assert await reply_of(agent) == [ToolCall("a", "f", "{}"), Finish("tool_calls")]
        await agent.aclose()


async def test_arguments_of_an_open_block_may_follow_the_reason_to_stop() -> None:
    use = {"type": "tool_use", "id": "a", "name": "f", "input": {}}
    arguments = {"type": "input_json_delta", "partial_json": '{"q":1}'}
    begin = sse(
        {"type": "content_block_start", "index": 0, "content_block": use},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}},
    )
    rest = sse(
        {"type": "content_block_delta", "index": 0, "delta": arguments},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_stop"},
    )
    async with Upstream((STREAM, chunk(begin), PAUSE, chunk(rest), Action.HANG)) as upstream:
        agent = AnthropicAgent(upstream.url, model="m")
        assert await reply_of(agent) == [ToolCall("a", "f", '{"q":1}'), Finish("tool_calls")]
        await agent.aclose()


async def test_name_of_a_tool_may_come_in_pieces() -> None:
    pieces = [
        {"index": 0, "id": "a", "function": {"name": "find_"}},
        {"index": 0, "function": {"name": "table", "arguments": "{"}},
        {"index": 0, "function": {"arguments": "}"}},
    ]
    chunks = sse(*(delta(tool_calls=[piece]) for piece in pieces), delta("tool_calls"))
    async with Upstream((STREAM, chunk(chunks), chunk(b""))) as upstream:
        agent = OpenAIAgent(upstream.url)
        assert await reply_of(agent) == [ToolCall("a", "find_table"), Finish("tool_calls")]
        await agent.aclose()


async def test_cut_arguments_of_a_call_whose_chunks_all_have_a_reason_raise() -> None:
    piece = {"index": 0, "id": "a", "function": {"name": "f", "arguments": '{"q"'}}
    for end in ((Action.RESET,), (Action.CLOSE,), (chunk(b""),)):
        async with Upstream((STREAM, chunk(sse(delta("stop", tool_calls=[piece]))), *end)) as upstream:
            agent = OpenAIAgent(upstream.url)
            with pytest.raises(AgentProtocolError):
                await reply_of(agent)
            await agent.aclose()


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        ({"error": "full"}, "full"),
        ({"choices": [{"delta": {}, "error": {"message": "full"}}]}, "full"),
        (delta("error"), "reported an error"),
        (delta("overloaded"), "broke off with overloaded"),
        (delta("something_new"), "broke off with something_new"),
    ],
)
async def test_failure_after_a_reason_is_raised(failure: dict[str, object], words: str) -> None:
    async with Upstream((STREAM, chunk(CHAT_END + sse(failure)), Action.HANG)) as upstream:
        agent = OpenAIAgent(upstream.url)
        with pytest.raises(AgentError, match=words):
            await reply_of(agent)
        await agent.aclose()


@pytest.mark.parametrize("mark", [b"data: [DONE]", b"data: [DONE]\n", b"data:[DONE]\r\n"])
async def test_done_counts_without_its_blank_line(mark: bytes) -> None:
    said = sse(delta(content="Hi"))
    assert await reply_to(OpenAIAgent, STREAM, chunk(said + mark), Action.HANG) == ["Hi"]
    assert await reply_to(
        OpenAIAgent, STREAM, chunk(said[:-1] + mark), 0.01, chunk(b"\n\n"), Action.HANG
    ) == ["Hi"]


async def test_end_without_marks_is_an_error_only_of_servers_that_sent_them() -> None:
    unmarked = (STREAM, chunk(sse(delta(content="Hi"))), chunk(b""))
    marked = (STREAM, chunk(CHAT_END), chunk(b""))
    async with Upstream(unmarked, marked, unmarked) as upstream:
        agent = OpenAIAgent(upstream.url)
        assert await reply_of(agent) == ["Hi"]
        assert await reply_of(agent) == ["Hi", Finish("length")]
        with pytest.raises(
            AgentProtocolError, match=r"without finish_reason and \[DONE\], which it sent before"
        ):
            await reply_of(agent)
        await agent.aclose()
