"""Turns with actions: refused, cut off, repeated, or all that the agent has to say; and languages."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.calls.calls import (
    RELAYS,
    SETUP,
    SILENT,
    PlannedAgent,
    details,
    interrupt,
    prompt,
    request,
    say,
    texts,
    words,
)
from tests.support.asgi_websocket import connect_websocket
from tests.support.gateway import make_call_server
from voicegw.calls import turn_player
from voicegw.calls.call_tools import TOOLS, build_call_tools
from voicegw.events import Activity, ToolCall
from voicegw.turns.acknowledgement import AckPolicy
from voicegw.turns.phrases import PHRASES
from voicegw.turns.prompts import ACTION_CUT_OFF, ACTION_DONE_BEFORE, NOT_DONE

ACTIONS = build_call_tools(TOOLS)
APOLOGY = "Sorry, something went wrong. Could you say that again?"
SILENT_ACTIONS = {
    "send_digits": {"digits": "2"},
    "play_audio": {"url": "https://a.example/song.mp3"},
    "switch_language": {"language": "es-ES"},
}


def call(name: str, id: str = "1", **arguments: str) -> ToolCall:
    return ToolCall(id, name, json.dumps(arguments))


def results(turn: Any) -> list[str]:
    return [message.text for message in turn.messages if message.role == "tool"]


@pytest.mark.parametrize("relay", RELAYS)
@pytest.mark.parametrize("name", SILENT_ACTIONS)
@pytest.mark.parametrize("more", [(), (Activity("wait"),), (" ",)], ids=["silent", "active", "blank"])
async def test_agent_that_only_acts_gets_no_apology(relay: str, name: str, more: Any) -> None:
    agent = PlannedAgent(lambda turn: more if turn.kind == "tool" else (call(name, **SILENT_ACTIONS[name]),))
    app, _ = make_call_server(agent, ack=SILENT, actions=ACTIONS)
    async with connect_websocket(app, f"/{relay}/relay") as websocket:
        await say(websocket, SETUP, prompt("For sales press two."), wait=20)
    assert words(websocket) == []
    assert len(websocket.frames) == 1
    assert [turn.kind for turn in agent.turns] == ["said", "tool"]


async def test_retell_gets_a_complete_reply_of_an_agent_that_only_acts() -> None:
    agent = PlannedAgent(lambda turn: (call("send_digits", digits="2"),))
    app, _ = make_call_server(agent, ack=SILENT, actions=ACTIONS)
    async with connect_websocket(app, "/retell/call1") as websocket:
        await say(websocket, details(), request(1, "For sales press two."))
    assert len(agent.turns) == 1
    assert websocket.frames[-1][1] == {
        "response_type": "response",
        "response_id": 1,
        "content": "",
        "content_complete": True,
        "digit_to_press": "2",
    }


@pytest.mark.parametrize("path", ["/twilio/relay", "/telnyx/relay", "/retell/call1"])
async def test_agent_is_told_of_a_refused_action_and_asked_to_go_on(path: str) -> None:
    def plan(turn: Any) -> Any:
        if turn.kind == "tool":
            return ("But the number is wrong.",)
        return ("I put you through. ", call("transfer_call", number="my boss"))

    agent = PlannedAgent(plan)
    app, _ = make_call_server(agent, ack=SILENT, actions=ACTIONS)
    is_retell = path.startswith("/retell")
    question = request(1, "A person!") if is_retell else prompt("A person!")
    async with connect_websocket(app, path) as websocket:
        await say(websocket, details() if is_retell else SETUP, question)
    assert [text.strip() for _, text in words(websocket)] == [
        "I put you through.",
        "But the number is wrong.",
    ]
    assert [turn.kind for turn in agent.turns] == ["said", "tool"]
    assert texts(agent.turns[1])[:2] == ["A person!", "I put you through."]
    assert texts(agent.turns[1])[2].startswith(NOT_DONE)
    if is_retell:
        replies = [frame for _, frame in websocket.frames if frame.get("response_id") == 1]
        assert [reply["content_complete"] for reply in replies] == [False, True]


@pytest.mark.parametrize("path", ["/twilio/relay", "/retell/call1"])
@pytest.mark.parametrize(("said", "heard"), [((), [APOLOGY]), (("Hm.",), ["Hm.", "Hm."])])
async def test_agent_that_insists_on_a_refused_action_leaves_no_dead_air(
    path: str, said: Any, heard: list[str]
) -> None:
    agent = PlannedAgent(lambda turn: (*said, call("transfer_call", number="my boss")))
    app, _ = make_call_server(agent, ack=SILENT, actions=ACTIONS)
    is_retell = path.startswith("/retell")
    question = request(1, "A person!") if is_retell else prompt("A person!")
    async with connect_websocket(app, path) as websocket:
        await say(websocket, details() if is_retell else SETUP, question)
    assert [text for _, text in words(websocket)] == heard
    assert len(agent.turns) == 2, "the same action again is not a reason for another round"
    assert websocket.frames[-1][1].get("content_complete", True) is True


async def test_refused_actions_have_a_limit_of_rounds() -> None:
    agent = PlannedAgent(lambda turn: (call("transfer_call", number=f"boss {len(turn.messages)}"),))
    app, _ = make_call_server(agent, ack=SILENT, actions=ACTIONS)
    async with connect_websocket(app, "/retell/call1") as websocket:
        await say(websocket, details(), request(1, "A person!"))
    assert len(agent.turns) == 1 + turn_player.MAX_TOOL_ROUNDS
    assert [text for _, text in words(websocket)] == [APOLOGY]


async def test_silence_after_a_refused_action_is_a_failure() -> None:
    agent = PlannedAgent(lambda turn: () if turn.kind == "tool" else (call("send_digits", digits="two"),))
    app, _ = make_call_server(agent, ack=SILENT, actions=ACTIONS)
    async with connect_websocket(app, "/twilio/relay") as websocket:
        await say(websocket, SETUP, prompt("Hello?"))
    assert [text for _, text in words(websocket)] == [APOLOGY]


@pytest.mark.parametrize(
    ("relay", "action"),
    [
        ("twilio", call("end_call")),
        ("telnyx", call("end_call")),
        ("twilio", call("transfer_call", number="+15550100199")),
    ],
)
@pytest.mark.parametrize("how", ["interrupt", "prompt"])
async def test_action_that_the_caller_cuts_off_is_not_done(relay: str, action: ToolCall, how: str) -> None:
    def plan(turn: Any) -> Any:
        return ("Yes?",) if "wait" in turn.said else (action, "Thank you for calling.", 1, " Bye.")

    agent = PlannedAgent(plan)
    app, _ = make_call_server(agent, ack=SILENT, actions=ACTIONS)
    async with connect_websocket(app, f"/{relay}/relay") as websocket:
        await say(websocket, SETUP, prompt("Bye."), wait=0.5)
        if how == "interrupt":
            await say(websocket, interrupt("Thank you for"), wait=0.1)
        await say(websocket, prompt("wait"))
    assert "end" not in [frame["type"] for _, frame in websocket.frames]
    assert results(agent.turns[-1]) == [ACTION_CUT_OFF]


async def test_repeated_action_is_reported_as_done_before() -> None:
    agent = PlannedAgent(lambda turn: (call("send_digits", digits="2"),))
    app, _ = make_call_server(agent, ack=SILENT, actions=ACTIONS)
    async with connect_websocket(app, "/twilio/relay") as websocket:
        await say(websocket, SETUP, prompt("One."))
        await say(websocket, prompt("Two."))
    assert results(agent.turns[2])[:2] == ["Done.", ACTION_DONE_BEFORE]
    assert [frame["type"] for _, frame in websocket.frames] == ["sendDigits", "sendDigits"]


# The end of the call


async def test_end_of_the_call_waits_for_the_words_of_an_earlier_round() -> None:
    def plan(turn: Any) -> Any:
        refused = call("transfer_call", number="my boss")
        return (call("end_call"),) if turn.kind == "tool" else ("Thank you for calling.", refused)

    app, _ = make_call_server(PlannedAgent(plan), ack=SILENT, actions=ACTIONS, chars_per_second=10.0)
    async with connect_websocket(app, "/twilio/relay") as websocket:
        await say(websocket, SETUP, prompt("Bye."), wait=4)
    when = {frame["type"]: round(at, 3) for at, frame in websocket.frames}
    assert when["end"] == pytest.approx(len("Thank you for calling.") / 10)


@pytest.mark.parametrize("relay", RELAYS)
async def test_end_of_the_call_waits_until_the_farewell_can_have_been_spoken(relay: str) -> None:
    agent = PlannedAgent(lambda turn: (0.5, "Good bye, and thanks", 0.1, " again.", call("end_call")))
    app, dispatcher = make_call_server(agent, ack=SILENT, actions=ACTIONS, chars_per_second=10.0)
    async with connect_websocket(app, f"/{relay}/relay") as websocket:
        await say(websocket, SETUP, prompt("Bye."), wait=2)
        assert len(dispatcher.calls) == 1
        await say(websocket, wait=2)
    when = {frame["type"]: round(at, 3) for at, frame in websocket.frames}
    assert when["end"] == pytest.approx(0.5 + len("Good bye, and thanks again.") / 10)
    assert len(dispatcher.calls) == 0


async def test_caller_may_still_stop_an_end_that_waits() -> None:
    def plan(turn: Any) -> Any:
        return ("Yes?",) if "wait" in turn.said else ("Good bye, and thanks.", call("end_call"))

    agent = PlannedAgent(plan)
    app, dispatcher = make_call_server(agent, ack=SILENT, actions=ACTIONS, chars_per_second=10.0)
    async with connect_websocket(app, "/twilio/relay") as websocket:
        await say(websocket, SETUP, prompt("Bye."))
        await say(websocket, interrupt("Good"), prompt("wait"), wait=5)
        assert len(dispatcher.calls) == 1
    assert results(agent.turns[1]) == [ACTION_CUT_OFF]
    assert [frame["type"] for _, frame in websocket.frames] == ["text", "text"]


async def test_end_without_words_does_not_wait() -> None:
    agent = PlannedAgent(lambda turn: (call("end_call"),))
    app, _ = make_call_server(agent, ack=SILENT, actions=ACTIONS, chars_per_second=10.0)
    async with connect_websocket(app, "/twilio/relay") as websocket:
        await say(websocket, SETUP, prompt("Bye."))
    assert [(at, frame["type"]) for at, frame in websocket.frames] == [(0.0, "end")]


# Languages


async def test_own_words_follow_a_switch_of_the_language() -> None:
    def plan(turn: Any) -> Any:
        if turn.kind == "said" and "español" in turn.said:
            return (call("switch_language", language="ES"),)
        return (Activity("work"), 1, "Claro.")

    agent = PlannedAgent(plan)
    ack = AckPolicy(0.3, every=0.5)
    app, _ = make_call_server(agent, ack=ack, actions=ACTIONS, languages=("en-US", "es-ES"), language="en-US")
    async with connect_websocket(app, "/twilio/relay") as websocket:
        await say(websocket, SETUP, prompt("En español, por favor.", lang="en-US"), wait=2)
        await say(websocket, {"type": "dtmf", "digit": "#"}, wait=2)
    async with connect_websocket(app, "/twilio/relay") as again:
        await say(again, SETUP, prompt("Sí."), wait=2)
    assert [frame for _, frame in websocket.frames if frame["type"] == "language"] == [
        {"type": "language", "ttsLanguage": "es-ES", "transcriptionLanguage": "es-ES"}
    ]
    spoken = [text for _, text in (*words(websocket), *words(again))]
    assert [text for text in spoken if text not in ("Claro.", "Sigo en ello. ")] == [
        "Un segundo. ",
        "Ahora lo miro. ",
    ]
    assert [turn.language for turn in agent.turns] == ["en-US", "es-ES", "es-ES", "es-ES"]


CODE = "\n```\nx = 1\n```\n"


@pytest.mark.parametrize(
    ("arguments", "languages"),
    [
        ({"language": "es-ES"}, ("en", "es")),
        ({"language": "fr-FR"}, ("en", "en")),
        ({"tag": "es-ES"}, ("en", "en")),
        ({"language": 7}, ("en", "en")),
    ],
    ids=["declared", "undeclared", "no tag", "no text"],
)
async def test_sentences_for_code_follow_a_switch_of_the_language_in_the_answer(
    arguments: dict[str, Any], languages: tuple[str, str]
) -> None:
    switch = ToolCall("1", "switch_language", json.dumps(arguments))
    agent = PlannedAgent(lambda turn: (CODE, switch, CODE) if turn.kind == "said" else ("Done.",))
    app, _ = make_call_server(
        agent, ack=SILENT, actions=ACTIONS, languages=("en-US", "es-ES", "de-DE"), language="en-US"
    )
    async with connect_websocket(app, "/twilio/relay") as websocket:
        await say(websocket, SETUP, prompt("Zeig mir Code.", lang="de-DE"))
    spoken = "".join(text for _, text in words(websocket))
    assert spoken.startswith(" ".join(PHRASES[tag].code for tag in languages))


async def test_answer_without_words_is_spoken_in_the_language_of_the_voice() -> None:
    app, _ = make_call_server(
        PlannedAgent(lambda turn: ("👍",)), ack=SILENT, languages=("en-US", "de-DE"), language="en-US"
    )
    async with connect_websocket(app, "/twilio/relay") as websocket:
        await say(websocket, SETUP, prompt("Ist das in Ordnung?", lang="de-DE"))
    assert [text for _, text in words(websocket)] == [PHRASES["en"].nothing]


@pytest.mark.parametrize(
    "tag", ["de-DE", "DE", "de", "multi", "und", "x-private", "xx-XX", "en-US", "", None]
)
async def test_own_words_are_in_the_language_of_the_voice(tag: str | None) -> None:
    agent = PlannedAgent(lambda turn: (0.5, "Um neun."))
    app, _ = make_call_server(agent, language="de-DE", languages=("de-DE",))
    async with connect_websocket(app, "/twilio/relay") as websocket:
        await say(websocket, SETUP, prompt("Wann?", lang=tag))
    assert words(websocket) == [(0.0, "Einen Moment. "), (0.5, "Um neun.")]
    assert agent.turns[0].language == "de-DE"


async def test_undeclared_language_is_refused_and_the_agent_told() -> None:
    def plan(turn: Any) -> Any:
        return ("Sorry, no French.",) if turn.kind == "tool" else (call("switch_language", language="fr-FR"),)

    agent = PlannedAgent(plan)
    languages = ("en-US", "es-ES")
    app, _ = make_call_server(agent, ack=SILENT, actions=ACTIONS, languages=languages, language="en-US")
    async with connect_websocket(app, "/twilio/relay") as websocket:
        await say(websocket, SETUP, prompt("En français !"))
    assert [text for _, text in words(websocket)] == ["Sorry, no French."]
    assert results(agent.turns[1]) == ["Not done: the call has no voice for fr-FR; it has en-US, es-ES."]
