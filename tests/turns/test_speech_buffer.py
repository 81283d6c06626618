"""Agents write, callers hear: the speech machine inside the gateway, from request to the last chunk."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support import responses_lint as sequence
from tests.support.asgi import Answer, drive
from tests.support.chat_lint import lint
from tests.support.gateway import ask, gateway
from tests.support.script import Step, script
from voicegw.errors import AgentBusy, AgentProtocolError
from voicegw.events import Activity, Finish, ToolCall, Usage
from voicegw.security.keys import digest
from voicegw.speech.filter import SpeechFilter
from voicegw.speech.options import SpeechOptions
from voicegw.turns.phrases import PHRASES
from voicegw.turns.speech_buffer import SpeechBuffer, SpeechFilters

OFF: dict[str, Any] = {"ack": {"after": "off"}}
SORRY = PHRASES["en"].failed
MARKED = "**Yes**, see [the page](https://example.com/a) 🙂"
BARE = "Yes, see the page"
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
CALL = ToolCall("call_1", "weather", "{}")
CODE = "Try this:\n```py\nx = 1\n```\nDone."
CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
KEYS = {name: {"hash": f"sha256:{digest(name).hex()}", "dialect": name} for name in ("chat", "voice")}


async def answer_to(app: Any, path: str, body: dict[str, Any] | None = None, **how: Any) -> Answer:
    """One turn in either form; `body` is what differs from a plain question."""
    asked: dict[str, Any] = {"messages": [{"role": "user", "content": "Hello?"}]}
    if path == RESPONSES:
        asked = {"input": "Hello?"}
    return await drive(app, {"stream": True, **asked, **(body or {})}, path=path, **how)


def heard(answer: Answer, path: str) -> list[tuple[float, str]]:
    said = answer.spoken if path == CHAT else [(when, sequence.spoken(data)) for when, data in answer.sends]
    return [(round(when, 9), text) for when, text in said if text]


def whole(answer: Answer, path: str) -> str:
    if path == RESPONSES:
        return "".join(part["text"] for item in answer.json["output"] for part in item["content"])
    return str(answer.json["choices"][0]["message"]["content"])


@pytest.mark.parametrize("path", [CHAT, RESPONSES])
@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ((0.3, "Plain words."), [(0.3, "Plain words.")]),
        ((0.3, "A **bo", 0.1, "ld** word."), [(0.3, "A bo"), (0.4, "ld word.")]),
        ((0.3, "Hi ", 0.1, "there."), [(0.3, "Hi"), (0.4, " there.")]),
        ((0.3, "Hi ", 0.5, "there."), [(0.3, "Hi"), (0.8, " there.")]),
        ((0.3, "Hi ", 0.2, "you ", 0.2, "there."), [(0.3, "Hi"), (0.5, " you"), (0.7, " there.")]),
        ((0.3, "Hi ", 0.2, "you ", 0.5, "all."), [(0.3, "Hi"), (0.5, " you"), (1.0, " all.")]),
        ((0.3, "Blue [1", 0.1, "] it is."), [(0.3, "Blue"), (0.4, " it is.")]),
        ((0.3, "Blue [1", 0.5, "] it is."), [(0.3, "Blue"), (0.8, " it is.")]),
        ((0.3, "See [the docs", 0.5, " of](/a)."), [(0.3, "See"), (0.55, " the docs"), (0.8, " of.")]),
        ((0.3, "See [the docs", 0.2, " of](/a)."), [(0.3, "See"), (0.5, " the docs of.")]),
        ((0.3, "One\n\n", 0.5, "Two"), [(0.3, "One"), (0.55, ". "), (0.8, "Two")]),
        ((0.3, "👍"), [(0.3, "Okay.")]),
        ((0.3, "Blue [1]"), [(0.3, "Blue")]),
        ((0.3, "# Hours"), [(0.3, "Hours.")]),
        ((0.3, "# Hours", 0.1, Usage(1, 2), Finish("length")), [(0.3, "Hours"), (0.4, ".")]),
        ((0.3, "<think>Hm", 0.5, " so</think>", 0.5, "Yes."), [(1.3, "Yes.")]),
        ((0.3, "Wait ", Activity("bash"), 0.5, "**Done.**"), [(0.3, "Wait"), (0.8, " Done.")]),
        ((0.3, "- Half", 0.1, ValueError("x")), [(0.3, "Half"), (0.4, ". " + SORRY)]),
        ((0.3, "Half [", 0.1, ValueError("x")), [(0.3, "Half"), (0.4, " [ " + SORRY)]),
        ((0.3, "<think>Hm", 0.1, AgentBusy("full")), [(0.4, PHRASES["en"].busy)]),
        ((0.3, "<think>Hm"), [(0.3, SORRY)]),
        ((0.3, CODE), [(0.3, f"Try this: {PHRASES['en'].code} Done.")]),
    ],
)  # fmt: skip
async def test_a_caller_hears(path: str, steps: tuple[Step, ...], words: list[tuple[float, str]]) -> None:
    answer = await answer_to(gateway(script(*steps), desk=OFF), path)
    assert heard(answer, path) == words
    (lint if path == CHAT else sequence.lint)(answer.body)


@pytest.mark.parametrize("path", [CHAT, RESPONSES])
async def test_a_whole_answer_is_made_speakable_too(path: str) -> None:
    answer = await answer_to(gateway(script(0.3, MARKED, 0.1, " [2]."), desk=OFF), path, {"stream": False})
    assert whole(answer, path) == BARE + "."


JSON = {"response_format": {"type": "json_object"}}
FORMAT = {"text": {"format": {"type": "json_object"}}}
CHORE = "### Task: make a title"


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("path", "desk", "body", "key", "spoken"),
    [
        (CHAT, {}, {}, "", True),
        (CHAT, {"speech": "off"}, {}, "", False),
        (CHAT, {"speech": "off"}, {}, "voice", False),
        (CHAT, {"dialect": "chat"}, {}, "", False),
        (CHAT, {"dialect": "chat"}, {}, "voice", True),
        (CHAT, {"dialect": "elevenlabs"}, {}, "", True),
        (CHAT, {}, {}, "chat", False),
        (CHAT, {}, JSON, "", False),
        (CHAT, {}, {"messages": [{"role": "user", "content": CHORE}]}, "", False),
        (RESPONSES, {}, {}, "", True),
        (RESPONSES, {"speech": "off"}, {}, "", False),
        (RESPONSES, {}, {}, "chat", False),
        (RESPONSES, {}, FORMAT, "", False),
        (RESPONSES, {}, {"input": CHORE}, "", False),
    ],
)
async def test_text_is_made_speakable_for_those_who_listen(
    path: str, desk: dict[str, Any], body: dict[str, Any], key: str, spoken: bool, stream: bool
) -> None:
    app = gateway(script(MARKED[:9], MARKED[9:]), desk={**OFF, **desk}, keys=KEYS if key else {})
    headers = {"authorization": f"Bearer {key}"} if key else {}
    answer = await answer_to(app, path, {**body, "stream": stream}, headers=headers)
    said = "".join(text for _, text in heard(answer, path)) if stream else whole(answer, path)
    assert said == (BARE if spoken else MARKED)


async def test_what_was_held_is_said_before_a_tool_is_called() -> None:
    app = gateway(script("Let me look ", CALL, Finish("tool_calls")), desk=OFF)
    answer = await ask(app, {"tools": [WEATHER]})
    assert (answer.text, answer.reason) == ("Let me look", "tool_calls")
    [choice] = (await ask(app, {"tools": [WEATHER], "stream": False})).json["choices"]
    assert choice["message"]["content"] == "Let me look"


async def test_reasoning_is_silence_which_our_words_bridge() -> None:
    steps = (0.1, "<think>", *[0.3, "Hm. "] * 5, "</think>", "Yes.")
    answer = await ask(gateway(script(*steps), desk={"ack": {"after": 0.5}}))
    assert answer.spoken == [(0.5, "One moment. "), (1.6, "Yes.")]


@pytest.mark.parametrize(
    ("patience", "steps", "said"),
    [
        ({"first_token": 1.0}, ("<think>", *[0.3, "Hm. "] * 9), [(1.0, SORRY)]),
        ({"first_token": 1.0}, (0.9, "Yes.", 5.0, "No."), [(0.9, "Yes."), (5.9, "No.")]),
        ({"first_token": 1.0, "idle": 0.5}, (0.9, "[", 0.4, "5]"), [(1.0, "[ " + SORRY)]),
        (
            {"idle": 1.0},
            ("Well.", *[0.9, "<think>", 0.9, "Hm.", 0.9, "</think>"] * 2, 0.9, "Yes.", 5.0),
            [(0.0, "Well."), (6.3, "Yes."), (7.3, " " + SORRY)],
        ),
        ({"idle": 1.0}, ("Well.", "<think>", 5.0, "Hm."), [(0.0, "Well."), (1.0, " " + SORRY)]),
        ({"total": 0.1}, ("Blue [", 5.0), [(0.0, "Blue"), (0.1, " [ " + SORRY)]),
    ],
)
async def test_reasoning_keeps_an_agent_alive_but_is_of_no_use(
    patience: dict[str, float], steps: tuple[Step, ...], said: list[tuple[float, str]]
) -> None:
    answer = await ask(gateway(script(*steps), desk={**OFF, **patience}))
    assert [(round(when, 9), text) for when, text in answer.spoken] == said


LADDER: dict[str, Any] = {
    "agents": {
        "desk": {"kind": "scripted", "idempotent": True, "fallback": ["spare"], "first_token": 2.0, **OFF},
        "spare": {"kind": "scripted"},
    }
}


@pytest.mark.parametrize(
    ("first", "said"),
    [
        ((" ", AgentProtocolError("cut")), "Fine."),
        (("\n", 9.0, "<think>"), "Fine."),
        (("<think>Hm", AgentProtocolError("cut")), "Fine."),
        (("<think>Hm", 0.1, AgentProtocolError("cut")), SORRY),
        (("<think>Hm</think>", 9.0, "Yes."), "Yes."),
    ],
)
async def test_a_failed_try_leaves_nothing_that_swallows_the_next_agent_s_answer(
    first: tuple[Step, ...], said: str
) -> None:
    tries = iter((script(*first), script("Fine.")))

    class Desk:
        """Another agent at each try."""

        def reply(self, turn: Any) -> Any:
            return next(tries).reply(turn)

        async def warm(self, call: str | None = None) -> None: ...
        async def aclose(self) -> None: ...

    assert (await ask(gateway(Desk(), **LADDER))).text == said  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("language", "own", "note"),
    [
        ("de", {}, f"{PHRASES['de'].code} "),
        ("de-AT", {"de": "Hier steht Code."}, "Hier steht Code. "),
        ("de", {"de": ""}, ""),
        ("xx", {"en": "Code."}, "Code. "),
    ],
)
async def test_a_block_of_code_is_told_of_in_the_caller_s_language(
    language: str, own: dict[str, str], note: str
) -> None:
    app = gateway(script(CODE), desk=OFF, speech={"code": own})
    answer = await ask(app, {"metadata": {"language": language}, "language": language})
    assert answer.text == f"Try this: {note}Done."


@pytest.mark.parametrize(
    ("table", "steps", "said"),
    [
        ({"words": {"SQL": "sequel"}}, ("Use SQL.",), [(0.0, "Use sequel.")]),
        ({"urls": "drop"}, ("See https://example.com/a now.",), [(0.0, "See now.")]),
        ({"tables": "cells"}, ("|a|b|\n|---|---|\n|1|2|",), [(0.0, "a, b. 1, 2.")]),
        ({"keep_tags": ("break",)}, ("One <break/> two.",), [(0.0, "One <break/> two.")]),
        ({"silent_tags": ("plan",)}, ("<plan>First</plan>Yes.",), [(0.0, "Yes.")]),
        ({"max_hold_seconds": 1.0}, ("Hi\n\n", 2.0, "you."), [(0.0, "Hi"), (1.0, ". "), (2.0, "you.")]),
        ({"max_held_chars": 32}, (f"Hi [{32 * 'a'}", 0.1, "ij](/k)."), [(0.0, f"Hi {32 * 'a'}"), (0.1, "ij.")]),
    ],
)
async def test_the_table_of_the_configuration_is_obeyed(
    table: dict[str, Any], steps: tuple[Step, ...], said: list[tuple[float, str]]
) -> None:
    answer = await ask(gateway(script(*steps), desk=OFF, speech=table))
    assert answer.spoken == said


async def test_what_was_spoken_is_what_a_later_request_goes_on_from() -> None:
    agent = script(MARKED)
    app = gateway(agent, desk=OFF)
    first = await answer_to(app, RESPONSES, {"stream": False})
    await answer_to(app, RESPONSES, {"previous_response_id": first.json["id"], "input": "And?"})
    assert [message.text for message in agent.turns[-1].messages] == ["Hello?", BARE, "And?"]


def test_there_is_one_style_for_each_sentence_whatever_languages_callers_name() -> None:
    diction = SpeechFilters(SpeechOptions(max_held_chars=9), {"de": ""})
    spoken = [diction.filter_for(tag) for tag in ("en", "en-GB", "xx", "yy", "de", "de-AT")]
    assert len({id(machine) for machine in spoken}) == 6
    assert len({id(machine.options) for machine in spoken}) == 2
    assert [machine.options.code for machine in spoken] == [PHRASES["en"].code] * 4 + [""] * 2
    assert {machine.options.max_held_chars for machine in spoken} == {9}


async def test_there_is_one_timer_however_many_deltas_come() -> None:
    loop = asyncio.get_running_loop()
    said: list[tuple[float, str]] = []
    speaking = SpeechBuffer(
        SpeechFilter(), 0.25, lambda text: said.append((loop.time(), text)), lambda: None, loop.time
    )
    made: list[float] = []
    call_at = loop.call_at

    def counting(when: float, callback: Any, *args: Any, **how: Any) -> asyncio.TimerHandle:
        if callback == speaking._ring:
            made.append(round(when, 9))
        return call_at(when, callback, *args, **how)

    loop.call_at = counting  # type: ignore[method-assign]
    for _ in range(10):
        speaking.feed("so\n\n", loop.time())
        await asyncio.sleep(0.1)
    await asyncio.sleep(2)
    assert made == [0.25, 0.45, 0.65, 0.85, 1.05, 1.15]
    assert said[-1] == (pytest.approx(1.15, abs=1e-9), ". ")
    speaking.feed("on.", loop.time())
    assert len(made) == 6, "nothing is held, nothing is waited for"


async def test_a_pause_that_holds_nothing_any_more_is_not_told_of() -> None:
    told: list[str] = []
    now = asyncio.get_running_loop().time
    speaking = SpeechBuffer(SpeechFilter(), 0.25, told.append, lambda: told.append("told"), now)
    speaking.feed("Hi\n\n", now())
    speaking.feed("you.", now())
    await asyncio.sleep(1)
    assert told == ["Hi", ". you."]


async def test_a_program_never_gets_what_was_made_for_ears() -> None:
    app = gateway(script(0.3, MARKED), desk=OFF)
    headers = {"x-voicegw-call": "one"}
    caller = asyncio.ensure_future(ask(app, headers=headers))
    await asyncio.sleep(0.2)
    program = await ask(app, JSON, headers=headers)
    await caller
    assert program.text == MARKED
