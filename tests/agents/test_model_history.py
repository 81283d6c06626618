"""Histories become valid for strict servers, for every kind of model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.asgi import send_request
from tests.support.fake_agent import fake_agent
from tests.support.gateway import create_gateway, send_turn
from voicegw.agents.anthropic.request import encode_request as anthropic_request
from voicegw.agents.bedrock.request import encode_request as bedrock_request
from voicegw.agents.hermes.protocol import chat_request, run_request
from voicegw.agents.model_history import INTERRUPTED_RESULT, NO_RESULT, SILENT_ANSWER, valid_history
from voicegw.agents.openai.request import encode_request as openai_request
from voicegw.events import Message, Role, Tool, ToolCall, Turn
from voicegw.turns.prompts import CALL_START_PROMPT, SILENCE_PROMPT
from voicegw.wire.json import loads_object

SYSTEM, DEVELOPER = Message("system", "Be kind."), Message("developer", "Be brief.")
HI, WELL, HELLO = Message("user", "Hi."), Message("user", "Well?"), Message("assistant", "Hello.")
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
SEEN = Message("user", "Look.", parts=({"type": "text", "text": "Look."}, IMAGE))


def calling(*ids: str, text: str = "", name: str = "f") -> Message:
    return Message("assistant", text, tool_calls=tuple(ToolCall(id, name) for id in ids))


def result(id: str | None, text: str = "42", role: Role = "tool", name: str | None = None) -> Message:
    return Message(role, text, tool_call_id=id, name=name)


CUT, SILENT = INTERRUPTED_RESULT, Message("assistant", SILENT_ANSWER)


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        pytest.param((), (), id="nothing"),
        pytest.param((SYSTEM, DEVELOPER, HI, HELLO, WELL), None, id="valid"),
        pytest.param((HI, WELL), (Message("user", "Hi.\n\nWell?"),), id="two of the user"),
        pytest.param(
            (HI, Message("assistant", " "), WELL), (Message("user", "Hi.\n\nWell?"),), id="blank between them"
        ),
        pytest.param(
            (HI, HELLO, calling("a"), result("a")),
            (HI, calling("a", text="Hello."), result("a")),
            id="tool calls survive",
        ),
        pytest.param(
            (HI, calling("a", text=" "), result("a"), HELLO, WELL), None, id="an answer after a result"
        ),
        pytest.param(
            (HI, SEEN),
            (Message("user", "Hi.\n\nLook.", parts=({"type": "text", "text": "Hi."}, *SEEN.parts)),),
            id="parts survive",
        ),
        pytest.param(
            (
                SEEN,
                Message("user", " ", parts=({"type": "text", "text": " "},)),
                Message("user", "", (IMAGE,)),
            ),
            (Message("user", "Look.", parts=(*SEEN.parts, IMAGE)),),
            id="blank parts go",
        ),
        pytest.param(
            (Message("user", "Hi.", name="Ann"), Message("user", "Well?", name="Ann")),
            (Message("user", "Hi.\n\nWell?", name="Ann"),),
            id="one participant",
        ),
        pytest.param(
            (Message("user", "Hi.", name="Ann"), Message("user", "So?", name="Bob"), WELL),
            (Message("user", "Ann: Hi.\n\nBob: So?\n\nWell?"),),
            id="two participants",
        ),
        pytest.param(
            (Message("user", "Look.", SEEN.parts, name="Ann"), WELL),
            (
                Message(
                    "user",
                    "Ann: Look.\n\nWell?",
                    parts=(
                        {"type": "text", "text": "Ann:"},
                        *SEEN.parts,
                        {"type": "text", "text": "Well?"},
                    ),
                ),
            ),
            id="a participant with parts",
        ),
        pytest.param((HI, calling("a")), (HI, calling("a"), result("a", CUT)), id="a call at the end"),
        pytest.param(
            (HI, calling("a", "b"), result("b"), WELL),
            (HI, calling("a", "b"), result("a", CUT), result("b"), SILENT, WELL),
            id="a call without a result",
        ),
        pytest.param(
            (HI, calling("a"), WELL, HELLO, result("a")),
            (HI, calling("a"), result("a"), SILENT, WELL, HELLO),
            id="a late result",
        ),
        pytest.param(
            (result("a"), HI, result("b"), calling("a"), result("a"), result("a", "43"), HELLO),
            (HI, calling("a"), result("a"), HELLO),
            id="results without a call",
        ),
        pytest.param(
            (HI, calling("a"), WELL, calling("a"), result("a")),
            (HI, calling("a"), result("a", CUT), SILENT, WELL, calling("call_1"), result("call_1")),
            id="an id that comes again",
        ),
        pytest.param(
            (HI, calling("call_1", ""), result("call_1"), result(None), WELL),
            (HI, calling("call_1", "call_2"), result("call_1"), result("call_2"), SILENT, WELL),
            id="a call without an id",
        ),
        pytest.param(
            (HI, calling(""), result(None, role="function", name="g"), result(None, "7", "function", "f")),
            (HI, calling("call_1"), result("call_1", "7", name="f")),
            id="the older function calls",
        ),
        pytest.param(
            (HI, calling("a"), result("a", " ")), (HI, calling("a"), result("a", NO_RESULT)), id="blank"
        ),
        pytest.param(
            (HI, calling("a", name=""), result("a"), WELL), (Message("user", "Hi.\n\nWell?"),), id="no name"
        ),
        pytest.param(
            (Message("user", "Hi.", tool_calls=(ToolCall("a", "f"),)), HELLO),
            (HI, HELLO),
            id="a call of the user",
        ),
        pytest.param(
            (HI, calling("a"), result("a"), DEVELOPER, WELL),
            (HI, calling("a"), result("a"), SILENT, DEVELOPER, WELL),
            id="an instruction behind a result",
        ),
        pytest.param(
            (SYSTEM, SYSTEM, HI, HELLO, DEVELOPER, WELL),
            (Message("system", "Be kind.\n\nBe kind."), HI, HELLO, DEVELOPER, WELL),
            id="a later instruction",
        ),
    ],
)
def test_history_is_repaired(messages: tuple[Message, ...], expected: tuple[Message, ...] | None) -> None:
    assert valid_history(messages) == list(messages if expected is None else expected)


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ('{"a": 1}', '{"a": 1}'),
        ("{}", "{}"),
        ("", "{}"),
        (" \n", "{}"),
        ("null", "{}"),
        ('"{\\"a\\": 1}"', '{"a":1}'),
        ('{"a": ', '{"invalid_arguments":"{\\"a\\": "}'),
        ("{'a': 1}", """{"invalid_arguments":"{'a': 1}"}"""),
        ("[1]", '{"invalid_arguments":"[1]"}'),
        ('"a"', '{"invalid_arguments":"\\"a\\""}'),
        ('{"a": NaN}', '{"invalid_arguments":"{\\"a\\": NaN}"}'),
        ('{"a": "\ud83d"}', '{"a":"?"}'),
        ("\ud83d", '{"invalid_arguments":"\\ufffd"}'),
    ],
)
def test_arguments_become_an_object(text: str, arguments: str) -> None:
    messages = (HI, Message("assistant", tool_calls=(ToolCall("a", "f", text),)), result("a"))
    [call] = valid_history(messages)[1].tool_calls
    assert call.arguments == arguments


def test_ids_are_numbered_for_servers_that_refuse_other_ids() -> None:
    messages = (HI, calling("ä", "call_1"), result("call_1"), result("ä", "43"))
    assert valid_history(messages, number_ids=True) == [
        HI,
        calling("call_1", "call_2"),
        result("call_1", "43"),
        result("call_2"),
    ]


def test_results_become_texts_for_servers_without_tools() -> None:
    messages = (HI, calling("a", "b", "c", text="So."), result("a"), result("b", " "), WELL)
    assert valid_history(messages, with_tools=False) == [
        HI,
        Message("assistant", "So."),
        Message("user", "(A tool answered: 42)\n\nWell?"),
    ]


@pytest.mark.parametrize(
    ("messages", "before", "after"),
    [
        ((), [], [CALL_START_PROMPT]),
        ((HI,), [], []),
        ((HELLO, HI), [CALL_START_PROMPT], []),
        ((HI, HELLO), [], [SILENCE_PROMPT]),
        ((HI, calling("a")), [], []),
    ],
)
def test_prompts_stand_in_for_the_user(
    messages: tuple[Message, ...], before: list[str], after: list[str]
) -> None:
    prompts = ([Message("user", text) for text in texts] for texts in (before, after))
    first, last = prompts
    assert valid_history(messages, is_by_party=True) == [*first, *valid_history(messages), *last]


# Every kind of model, under the strictest rules

Entry = tuple[str, list[str], list[str], list[str]]
"""A message: its role, texts, ids of tool calls, ids of tool results."""


def chat_entries(messages: Sequence[dict[str, Any]]) -> list[Entry]:
    """Return a history of chat completions. All results of a message are one entry, of the user."""
    entries: list[Entry] = []
    before = ""
    for message in messages:
        content, calls = message["content"], message.get("tool_calls", [])
        assert before != "tool" or message["role"] in ("tool", "assistant")
        assert all(loads_object(call["function"]["arguments"]) is not None for call in calls)
        before = message["role"]
        texts = [part.get("text", "image") for part in content] if isinstance(content, list) else [content]
        texts = [] if content is None and calls else texts
        if message["role"] == "tool":
            assert content.strip()
            if entries[-1][0] != "user" or entries[-1][1]:
                entries.append(("user", [], [], []))
            entries[-1][3].append(message["tool_call_id"])
        else:
            entries.append((message["role"], texts, [call["id"] for call in calls], []))
    return entries


def block_entries(messages: Sequence[dict[str, Any]]) -> list[Entry]:
    """Return a history of Anthropic's Messages or Bedrock's Converse."""
    entries = []
    for message in messages:
        blocks = message["content"]
        uses = [block["id"] for block in blocks if block.get("type") == "tool_use"]
        uses += [block["toolUse"]["toolUseId"] for block in blocks if "toolUse" in block]
        results = [block["tool_use_id"] for block in blocks if block.get("type") == "tool_result"]
        results += [block["toolResult"]["toolUseId"] for block in blocks if "toolResult" in block]
        assert all("text" not in block for block in blocks[: len(results)]), "results come first"
        texts = [block["text"] for block in blocks if "text" in block]
        texts += ["image" for block in blocks if block.get("type") == "image" or "image" in block]
        entries.append((message["role"], texts, uses, results))
    return entries


def run_entries(body: dict[str, Any]) -> list[Entry]:
    return chat_entries([*body.get("conversation_history", []), {"role": "user", "content": body["input"]}])


KINDS: dict[str, tuple[Callable[[Turn], list[Entry]], bool, bool]] = {
    "openai": (lambda turn: chat_entries(openai_request(turn)["messages"]), False, False),
    "text_only": (lambda turn: chat_entries(openai_request(turn, text_only=True)["messages"]), False, False),
    "anthropic": (
        lambda turn: block_entries(anthropic_request(turn, model="m", max_tokens=9)["messages"]),
        True,
        True,
    ),
    "bedrock": (lambda turn: block_entries(bedrock_request(turn)["messages"]), True, True),
    "hermes": (lambda turn: run_entries(run_request(turn)), False, True),
    "hermes_chat": (lambda turn: chat_entries(chat_request(turn, "s")["messages"]), False, True),
}
"""Each kind: the history that it sends, and whether its server demands the user first, and last."""

TEXTS = st.sampled_from(["", " ", "Hi", "Où?"])
IDS = st.sampled_from(["", "a", "b", "call_1"])
CALLS = st.builds(
    ToolCall, IDS, st.sampled_from(["", "f", "g"]), st.sampled_from(["{}", "", '{"a":1}', '{"a"', "[1]"])
)
PARTS = st.sampled_from([IMAGE, {"type": "text", "text": " "}, {"type": "text", "text": "see"}])
DIALOG = st.one_of(
    st.builds(
        Message,
        st.sampled_from(["user", "assistant"]),
        TEXTS,
        st.lists(PARTS, max_size=2).map(tuple),
        name=st.sampled_from([None, "Ann", "Bob"]),
    ),
    st.builds(Message, st.just("assistant"), TEXTS, tool_calls=st.lists(CALLS, max_size=3).map(tuple)),
    st.builds(
        Message,
        st.sampled_from(["tool", "function"]),
        TEXTS,
        tool_call_id=st.none() | IDS,
        name=st.sampled_from([None, "f", "g"]),
    ),
)
INSTRUCTIONS = st.builds(Message, st.sampled_from(["system", "developer"]), TEXTS)
TURNS = st.builds(
    lambda instructions, dialog, tools: Turn("t1", (*instructions, *dialog), tools=tools),
    st.lists(INSTRUCTIONS, max_size=3),
    st.lists(DIALOG, max_size=9),
    st.sampled_from([(), (Tool("f"), Tool("g"))]),
)


def check_strictly(entries: list[Entry], user_first: bool, user_last: bool) -> None:
    """Assert the rules of the strictest servers."""
    while entries and entries[0][0] in ("system", "developer"):
        assert len(entries) == 1 or entries[0][0] != entries[1][0]
        entries = entries[1:]
    roles = [role for role, *_ in entries]
    first = "user" if user_first else roles[0] if roles else "user"
    order = ("user", "assistant") if first == "user" else ("assistant", "user")
    assert roles == [order[index % 2] for index in range(len(roles))]
    assert not user_last or roles[-1:] == ["user"]
    ids: list[str] = []
    open_ids: list[str] = []
    for _, texts, calls, results in [*entries, ("", ["end"], [], [])]:
        assert results == open_ids, "each call has its result directly behind it"
        assert texts or calls or results
        assert all(text.strip() for text in texts)
        open_ids, ids = calls, ids + calls
    assert "" not in ids
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("kind", KINDS)
@given(turn=TURNS)
def test_every_history_is_valid_for_the_strictest_servers(kind: str, turn: Turn) -> None:
    entries, user_first, user_last = KINDS[kind]
    check_strictly(entries(turn), user_first, user_last)


@given(st.lists(DIALOG | INSTRUCTIONS, max_size=9))
def test_repair_is_stable_and_keeps_instructions_and_words(messages: list[Message]) -> None:
    history = valid_history(messages)
    assert valid_history(history) == history
    assert all(one.role != other.role or one.role == "tool" for one, other in pairwise(history))
    for roles in (("system", "developer"), ("user", "assistant")):
        said = " ".join(m.text for m in messages if m.role in roles)
        kept = " ".join(m.text for m in history if m.role in roles and m.text != SILENT_ANSWER)
        assert said.split() == kept.replace("Ann:", "").replace("Bob:", "").split()


@given(TURNS)
def test_openai_request_is_json(turn: Turn) -> None:
    body = openai_request(turn)
    assert orjson.loads(orjson.dumps(body)) == body


# Through the API

ASKING = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"id": "t0", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
}


def said(role: str, text: str) -> dict[str, str]:
    return {"role": role, "content": text}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("messages", "headers"),
    [
        ([said("user", "Find it."), ASKING, said("user", "Never mind.")], {}),
        ([said("user", "When?"), said("assistant", "One mom"), said("user", "On Sunday.")], {}),
        (
            [said("user", "When?"), said("assistant", "One mom"), said("user", "On Sunday.")],
            {"x-voicegw-call": "c"},
        ),
    ],
)
async def test_history_after_a_barge_in_is_valid(
    kind: str, messages: list[dict[str, Any]], headers: dict[str, str]
) -> None:
    agent = fake_agent(5.0, "At ten.")
    app = create_gateway(agent)
    await send_turn(app, {"messages": messages[:1]}, headers=headers, hang_up=0.5)
    await send_turn(app, {"messages": messages}, headers=headers, hang_up=0.5)
    entries, user_first, user_last = KINDS[kind]
    check_strictly(entries(agent.turns[1]), user_first, user_last)


@pytest.mark.parametrize("kind", KINDS)
async def test_history_of_a_previous_response_without_its_tool_result_is_valid(kind: str) -> None:
    agent = fake_agent(ToolCall("t0", "f"))
    app = create_gateway(agent)
    asked = {"input": "Find it.", "tools": [{"type": "function", "name": "f", "parameters": {}}]}
    first = await send_request(app, asked, path="/v1/responses")
    following = {"input": "Never mind.", "previous_response_id": first.json["id"]}
    await send_request(app, following, path="/v1/responses")
    turn = agent.turns[1]
    assert [message.role for message in turn.messages] == ["user", "assistant", "user"]
    entries, user_first, user_last = KINDS[kind]
    check_strictly(entries(turn), user_first, user_last)
