"""The speech filter inside the gateway, from the request to the last chunk."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support import responses_lint as sequence
from tests.support.asgi import RecordedResponse, send_request
from tests.support.chat_lint import lint
from tests.support.fake_agent import Step, fake_agent
from tests.support.gateway import create_gateway, send_turn
from voicegw.errors import AgentBusy, AgentProtocolError
from voicegw.events import Activity, Finish, ToolCall, Usage
from voicegw.security.keys import hash_secret
from voicegw.speech.filter import SpeechFilter
from voicegw.speech.options import SpeechOptions
from voicegw.turns.phrases import PHRASES
from voicegw.turns.speech_buffer import SpeechBuffer, SpeechFilters
from voicegw.turns.speech_phrases import SPEECH_PHRASES

OFF: dict[str, Any] = {"ack": {"after": "off"}}
SORRY = PHRASES["en"].failure
MARKDOWN = "**Yes**, see [the page](https://example.com/a) 🙂"
SPEECH = "Yes, see the page"
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
CALL = ToolCall("call_1", "weather", "{}")
CODE = "Try this:\n```py\nx = 1\n```\nDone."
CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
KEYS = {name: {"hash": f"sha256:{hash_secret(name).hex()}", "dialect": name} for name in ("chat", "voice")}


async def answer_to(app: Any, path: str, body: dict[str, Any] | None = None, **how: Any) -> RecordedResponse:
    """Send one turn to either endpoint; `body` replaces or adds fields of a plain question."""
    request: dict[str, Any] = {"messages": [{"role": "user", "content": "Hello?"}]}
    if path == RESPONSES:
        request = {"input": "Hello?"}
    return await send_request(app, {"stream": True, **request, **(body or {})}, path=path, **how)


def timed_texts(answer: RecordedResponse, path: str) -> list[tuple[float, str]]:
    texts = (
        answer.texts if path == CHAT else [(when, sequence.spoken_text(data)) for when, data in answer.sends]
    )
    return [(round(when, 9), text) for when, text in texts if text]


def completion_text(answer: RecordedResponse, path: str) -> str:
    if path == RESPONSES:
        return "".join(part["text"] for item in answer.json["output"] for part in item["content"])
    return str(answer.json["choices"][0]["message"]["content"])


@pytest.mark.parametrize("path", [CHAT, RESPONSES])
@pytest.mark.parametrize(
    ("steps", "texts"),
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
async def test_streamed_text_is_speech(
    path: str, steps: tuple[Step, ...], texts: list[tuple[float, str]]
) -> None:
    answer = await answer_to(create_gateway(fake_agent(*steps), agent_section=OFF), path)
    assert timed_texts(answer, path) == texts
    (lint if path == CHAT else sequence.lint)(answer.body)


@pytest.mark.parametrize("path", [CHAT, RESPONSES])
async def test_completion_is_speech_too(path: str) -> None:
    answer = await answer_to(
        create_gateway(fake_agent(0.3, MARKDOWN, 0.1, " [2]."), agent_section=OFF), path, {"stream": False}
    )
    assert completion_text(answer, path) == SPEECH + "."


JSON = {"response_format": {"type": "json_object"}}
FORMAT = {"text": {"format": {"type": "json_object"}}}
CLIENT_TASK = "### Task: make a title"


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("path", "agent_section", "body", "key", "filtered"),
    [
        (CHAT, {}, {}, "", True),
        (CHAT, {"speech": "off"}, {}, "", False),
        (CHAT, {"speech": "off"}, {}, "voice", False),
        (CHAT, {"dialect": "chat"}, {}, "", False),
        (CHAT, {"dialect": "chat"}, {}, "voice", True),
        (CHAT, {"dialect": "elevenlabs"}, {}, "", True),
        (CHAT, {}, {}, "chat", False),
        (CHAT, {}, JSON, "", False),
        (CHAT, {}, {"messages": [{"role": "user", "content": CLIENT_TASK}]}, "", False),
        (RESPONSES, {}, {}, "", True),
        (RESPONSES, {"speech": "off"}, {}, "", False),
        (RESPONSES, {}, {}, "chat", False),
        (RESPONSES, {}, FORMAT, "", False),
        (RESPONSES, {}, {"input": CLIENT_TASK}, "", False),
    ],
)
async def test_filter_applies_to_voice_clients_only(
    path: str, agent_section: dict[str, Any], body: dict[str, Any], key: str, filtered: bool, stream: bool
) -> None:
    app = create_gateway(
        fake_agent(MARKDOWN[:9], MARKDOWN[9:]),
        agent_section={**OFF, **agent_section},
        keys=KEYS if key else {},
    )
    headers = {"authorization": f"Bearer {key}"} if key else {}
    answer = await answer_to(app, path, {**body, "stream": stream}, headers=headers)
    text = "".join(text for _, text in timed_texts(answer, path)) if stream else completion_text(answer, path)
    assert text == (SPEECH if filtered else MARKDOWN)


async def test_held_text_precedes_a_tool_call() -> None:
    app = create_gateway(fake_agent("Let me look ", CALL, Finish("tool_calls")), agent_section=OFF)
    answer = await send_turn(app, {"tools": [WEATHER]})
    assert (answer.text, answer.finish_reason) == ("Let me look", "tool_calls")
    [choice] = (await send_turn(app, {"tools": [WEATHER], "stream": False})).json["choices"]
    assert choice["message"]["content"] == "Let me look"


async def test_reasoning_is_silence_for_acknowledgements() -> None:
    steps = (0.1, "<think>", *[0.3, "Hm. "] * 5, "</think>", "Yes.")
    answer = await send_turn(create_gateway(fake_agent(*steps), agent_section={"ack": {"after": 0.5}}))
    assert answer.texts == [(0.5, "One moment. "), (1.6, "Yes.")]


@pytest.mark.parametrize(
    ("timeouts", "steps", "texts"),
    [
        ({"first_token": 1.0}, (0.9, "<think>", *[0.9, "Hm. "] * 9, "</think>Yes."), [(9.0, "Yes.")]),
        ({"first_token": 1.0}, (1.1, "<think>", 0.1, "Hm."), [(1.0, SORRY)]),
        ({"first_token": 1.0, "idle": 0.5}, ("<think>", *[0.4, "Hm. "] * 5, 9.0), [(2.5, SORRY)]),
        ({"max_reasoning": 2.0}, ("<think>", *[0.4, "Hm. "] * 9), [(2.4, SORRY)]),
        ({"max_reasoning": "off"}, ("<think>", *[0.9, "Hm. "] * 9, "</think>Yes."), [(8.1, "Yes.")]),
        ({"first_token": 1.0}, (0.9, "Yes.", 5.0, "No."), [(0.9, "Yes."), (5.9, "No.")]),
        ({"first_token": 1.0, "idle": 0.5}, (0.9, "[", 0.4, "5]"), [(1.0, "[ " + SORRY)]),
        (
            {"idle": 1.0},
            ("Well.", *[0.9, "<think>", 0.9, "Hm.", 0.9, "</think>"] * 2, 0.9, "Yes.", 5.0),
            [(0.0, "Well."), (6.3, " Yes."), (7.3, " " + SORRY)],
        ),
        ({"idle": 1.0}, ("Well.", "<think>", 5.0, "Hm."), [(0.0, "Well."), (1.0, " " + SORRY)]),
        ({"total": 0.1}, ("Blue [", 5.0), [(0.0, "Blue"), (0.1, " [ " + SORRY)]),
    ],
)
async def test_reasoning_counts_as_work_for_the_timeouts(
    timeouts: dict[str, float], steps: tuple[Step, ...], texts: list[tuple[float, str]]
) -> None:
    answer = await send_turn(create_gateway(fake_agent(*steps), agent_section={**OFF, **timeouts}))
    assert [(round(when, 9), text) for when, text in answer.texts] == texts


FALLBACK_CONFIG: dict[str, Any] = {
    "agents": {
        "desk": {"kind": "scripted", "idempotent": True, "fallback": ["spare"], "first_token": 2.0, **OFF},
        "spare": {"kind": "scripted"},
    }
}


@pytest.mark.parametrize(
    ("first", "text"),
    [
        ((" ", AgentProtocolError("cut")), "Fine."),
        (("\n", 9.0, "<think>"), "Fine."),
        (("<think>Hm", AgentProtocolError("cut")), "Fine."),
        (("<think>Hm", 0.1, AgentProtocolError("cut")), SORRY),
        (("<think>Hm</think>", 9.0, "Yes."), "Yes."),
    ],
)
async def test_failed_attempt_does_not_affect_the_text_of_the_next(
    first: tuple[Step, ...], text: str
) -> None:
    attempts = iter((fake_agent(*first), fake_agent("Fine.")))

    class TwoAttempts:
        """Another agent for each attempt."""

        def reply(self, turn: Any) -> Any:
            return next(attempts).reply(turn)

        async def warm(self, call: str | None = None) -> None: ...
        async def aclose(self) -> None: ...

    assert (await send_turn(create_gateway(TwoAttempts(), **FALLBACK_CONFIG))).text == text  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("language", "configured", "sentence"),
    [
        ("de", {}, f"{PHRASES['de'].code} "),
        ("de-AT", {"de": "Hier steht Code."}, "Hier steht Code. "),
        ("de", {"de": ""}, ""),
        ("xx", {"en": "Code."}, "Code. "),
    ],
)
async def test_code_is_replaced_by_a_sentence_in_the_caller_s_language(
    language: str, configured: dict[str, str], sentence: str
) -> None:
    app = create_gateway(fake_agent(CODE), agent_section=OFF, speech={"code": configured})
    answer = await send_turn(app, {"metadata": {"language": language}, "language": language})
    assert answer.text == f"Try this: {sentence}Done."


@pytest.mark.parametrize(
    ("section", "steps", "texts"),
    [
        ({"words": {"SQL": "sequel"}}, ("Use SQL.",), [(0.0, "Use sequel.")]),
        ({"urls": "drop"}, ("See https://example.com/a now.",), [(0.0, "See now.")]),
        ({"tables": "cells"}, ("|a|b|\n|---|---|\n|1|2|",), [(0.0, "a, b. 1, 2.")]),
        ({"keep_tags": ("break",)}, ("One <break/> two.",), [(0.0, "One <break/> two.")]),
        ({"silent_tags": ("plan",)}, ("<plan>First</plan>Yes.",), [(0.0, "Yes.")]),
        ({"max_hold_seconds": 1.0}, ("Hi\n\n", 2.0, "you."), [(0.0, "Hi"), (1.0, ". "), (2.0, "you.")]),
        (
            {"max_held_chars": 32},
            (f"Hi [{32 * 'a'}", 0.1, "ij](/k)."),
            [(0.0, f"Hi {32 * 'a'}"), (0.1, "ij.")],
        ),
    ],
)
async def test_speech_section_of_the_configuration_is_used(
    section: dict[str, Any], steps: tuple[Step, ...], texts: list[tuple[float, str]]
) -> None:
    answer = await send_turn(create_gateway(fake_agent(*steps), agent_section=OFF, speech=section))
    assert answer.texts == texts


@pytest.mark.parametrize(
    ("agent", "speech", "language", "spoken"),
    [
        ({}, {"spell": ("units",)}, "de", "Es sind fünf Kilometer und 3 Hunde."),
        ({}, {"spell": ("units",)}, "de-AT", "Es sind fünf Kilometer und 3 Hunde."),
        ({}, {}, "de", "Es sind 5 km und 3 Hunde."),
        ({"spell": ("units",)}, {}, "de", "Es sind fünf Kilometer und 3 Hunde."),
        ({"spell": ()}, {"spell": ("units",)}, "de", "Es sind 5 km und 3 Hunde."),
        (
            {},
            {"spell": ("units",), "spell_languages": ("en", "de")},
            "de-AT",
            "Es sind fünf Kilometer und 3 Hunde.",
        ),
        ({}, {"spell": ("units",), "spell_languages": ("en",)}, "de", "Es sind 5 km und 3 Hunde."),
        ({}, {"spell": ("units",)}, "xx", "Es sind 5 km und 3 Hunde."),
    ],
)
async def test_written_forms_become_words_per_agent_and_language(
    agent: dict[str, Any], speech: dict[str, Any], language: str, spoken: str
) -> None:
    text = ("Es sind 5", " km und ", "3 Hunde.")
    app = create_gateway(fake_agent(*text), agent_section=OFF | agent, speech=speech)
    assert (await send_turn(app, {"metadata": {"language": language}, "language": language})).text == spoken


async def test_number_is_released_after_a_pause() -> None:
    app = create_gateway(fake_agent("In 5 ", 1.0, "days."), agent_section=OFF, speech={"spell": ("numbers",)})
    assert (await send_turn(app)).texts == [(0.0, "In "), (0.25, "5"), (1.0, " days.")]


async def test_stored_response_holds_the_speech() -> None:
    agent = fake_agent(MARKDOWN)
    app = create_gateway(agent, agent_section=OFF)
    first = await answer_to(app, RESPONSES, {"stream": False})
    await answer_to(app, RESPONSES, {"previous_response_id": first.json["id"], "input": "And?"})
    assert [message.text for message in agent.turns[-1].messages] == ["Hello?", SPEECH, "And?"]


def test_options_have_the_words_of_the_callers_language() -> None:
    filters = SpeechFilters(SpeechOptions(), {}, {"de": "Gut."}, {"en": "Output."})
    german, english, unknown = (filters.filter_for(tag).options for tag in ("de-AT", "en", "xx"))
    assert (german.nothing, german.done, german.to) == ("Gut.", "erledigt", "nach")
    assert (english.output, unknown.output) == ("Output.", "Output.")
    assert german.output == SPEECH_PHRASES["de"].output


def test_options_are_shared_by_languages_with_the_same_phrases() -> None:
    filters = SpeechFilters(SpeechOptions(max_held_chars=9), {"de": ""})
    created = [filters.filter_for(tag) for tag in ("en", "en-GB", "xx", "yy", "de", "de-AT")]
    assert len({id(speech_filter) for speech_filter in created}) == 6
    assert len({id(speech_filter.options) for speech_filter in created}) == 2
    assert [speech_filter.options.code for speech_filter in created] == [PHRASES["en"].code] * 4 + [""] * 2
    assert {speech_filter.options.max_held_chars for speech_filter in created} == {9}


async def test_deltas_share_one_timer() -> None:
    loop = asyncio.get_running_loop()
    released: list[tuple[float, str]] = []
    buffer = SpeechBuffer(
        SpeechFilter(), 0.25, lambda text: released.append((loop.time(), text)), lambda: None, loop.time
    )
    timers: list[float] = []
    call_at = loop.call_at

    def counting(when: float, callback: Any, *args: Any, **how: Any) -> asyncio.TimerHandle:
        if callback == buffer._on_timer:
            timers.append(round(when, 9))
        return call_at(when, callback, *args, **how)

    loop.call_at = counting  # type: ignore[method-assign]
    for _ in range(10):
        buffer.feed("so\n\n", loop.time())
        await asyncio.sleep(0.1)
    await asyncio.sleep(2)
    assert timers == [0.25, 0.45, 0.65, 0.85, 1.05, 1.15]
    assert released[-1] == (pytest.approx(1.15, abs=1e-9), ". ")
    buffer.feed("on.", loop.time())
    assert len(timers) == 6, "no timer runs while no text is held"


async def test_pause_without_held_text_is_not_reported() -> None:
    calls: list[str] = []
    now = asyncio.get_running_loop().time
    buffer = SpeechBuffer(SpeechFilter(), 0.25, calls.append, lambda: calls.append("pause"), now)
    texts = [buffer.feed("Hi\n\n", now()), buffer.feed("you.", now())]
    await asyncio.sleep(1)
    assert (texts, calls) == (["Hi", ". you."], [])


async def test_client_for_text_never_gets_filtered_text() -> None:
    app = create_gateway(fake_agent(0.3, MARKDOWN), agent_section=OFF)
    headers = {"x-voicegw-call": "one"}
    caller = asyncio.ensure_future(send_turn(app, headers=headers))
    await asyncio.sleep(0.2)
    program = await send_turn(app, JSON, headers=headers)
    await caller
    assert program.text == MARKDOWN
