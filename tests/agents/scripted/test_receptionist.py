"""Robin, the receptionist: a pure function of the messages."""

from __future__ import annotations

import re
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicegw.agents.scripted.receptionist import FAREWELL, GREETING, SILENCE, TOPICS, TRANSFER, answer
from voicegw.agents.scripted.tool_arguments import make_value
from voicegw.events import Message, Tool, Turn
from voicegw.turns.prompts import CALL_START_PROMPT, KEYPAD_PROMPT, SILENCE_PROMPT


def turn(*said: str, **fields: Any) -> Turn:
    """A conversation in which Robin has already answered all but the last message."""
    messages = [m for text in said for m in (Message("user", text), Message("assistant", "What was it?"))]
    return Turn("7", (Message("system", "Be kind."), *messages[:-1]), **fields)


def after_tool(*results: str, **fields: Any) -> Turn:
    return Turn("7", (Message("user", "use it"), *(Message("tool", text) for text in results)), **fields)


def tool(name: str, *required: str, description: str = "", **properties: Any) -> Tool:
    schema = {"type": "object", "properties": properties, "required": list(required)}
    return Tool(name, description, schema)


def answer_parts(asked: Turn) -> tuple[str, str | None, Any]:
    text, call = answer(asked)
    return (text, call.name, orjson.loads(call.arguments)) if call else (text, None, None)


TEXT = {"type": "string"}
END = tool("end_call", "reason", reason=TEXT, message=TEXT)
TRANSFERS = {"reason": TEXT, "transfer_number": TEXT, "client_message": TEXT, "agent_message": TEXT}
NUMBERS = "Numbers: +4930123456 for the workshop."
TO_NUMBER = tool("transfer_to_number", *[*TRANSFERS][1:], description=NUMBERS, **TRANSFERS)
WEATHER = tool("get_weather", "city", "unit", city=TEXT, unit={"enum": ["celsius", "kelvin"]}, days=TEXT)


@pytest.mark.parametrize(
    ("said", "topic"),
    [
        ("Hello?", "hello"),
        ("Good morning, Robin!", "hello"),
        ("Hi there, when are you open?", "hours"),
        ("What are your opening hours", "hours"),
        ("and where are you located", "where"),
        ("How much is a service?", "prices"),
        ("I've got a flat tyre", "repair"),
        ("Who are you?", "who"),
        ("are you a real person", "who"),
        ("I want to talk to a human", "human"),
        ("Thanks a lot", "thanks"),
        ("Thank you, goodbye!", "goodbye"),
        ("No, thank you.", "goodbye"),
        ("that's all", "goodbye"),
        ("yes please", "help"),
        ("can you help me", "help"),
    ],
)
def test_a_topic_gets_its_answer(said: str, topic: str) -> None:
    assert answer(turn(said)) == (TOPICS[topic][1], None)


def test_without_a_user_message_the_answer_is_the_greeting() -> None:
    assert answer(Turn("7", ())) == (GREETING, None)
    assert answer(Turn("7", (Message("system", "Be kind."), Message("assistant", "Hi!")))) == (GREETING, None)


@pytest.mark.parametrize("said", ["", "...", " _ ", "?!"])
def test_a_message_without_words_gets_the_silence_prompt(said: str) -> None:
    assert answer(turn(said)) == (SILENCE, None)


def test_a_reminder_gets_the_silence_prompt() -> None:
    assert answer(turn("Hello", kind="reminder")) == (SILENCE, None)


def test_any_other_message_is_repeated_back() -> None:
    text = "Let me note that down: you love your red bicycle 3 cats. Is there anything else?"
    assert answer(turn("I love my red bicycle & 3 *cats*!")) == (text, None)


WHICH_DAY = "Which day from Tuesday to Saturday would suit you?"
WHAT_TIME = "At what time between nine and six would you like to come?"
WHAT_NAME = "Under which name, please?"
ANNA = "All right, Anna O'Neill,"
BOOKED = "you are booked in for"
ELSE = "Is there anything else I can do?"


@pytest.mark.parametrize(
    "dialog",
    [
        [
            ("I'd like to book an appointment", f"Of course. {WHICH_DAY}"),
            ("Sunday", f"Sorry? {WHICH_DAY}"),
            ("How much is it?", f"{TOPICS['prices'][1]} {WHICH_DAY}"),
            ("Friday, thank you", f"Lovely. {WHAT_TIME}"),
            ("at 8 pm", f"Sorry? {WHAT_TIME}"),
            ("half past ten", f"Lovely. {WHAT_NAME}"),
            ("opening hours", f"{TOPICS['hours'][1]} {WHAT_NAME}"),
            ("it's anna o'neill", f"{ANNA} {BOOKED} Friday at half past ten in the morning. {ELSE}"),
            ("Could you move it to Saturday", f"Of course. {WHAT_TIME}"),
            ("15:00", f"{ANNA} your appointment is now Saturday at three in the afternoon. {ELSE}"),
            ("Cancel it", f"{ANNA} your appointment is cancelled. {ELSE}"),
            ("Cancel it!", f"{ANNA} your appointment is cancelled. {ELSE}"),
            ("thanks", TOPICS["thanks"][1]),
        ],
        [
            ("Tomorrow at quarter to eleven, my name is Jo van Berg", f"All right, Jo, you are booked in for "
             f"tomorrow at quarter to eleven in the morning. {ELSE}"),
            ("Are you open on Tuesday?", TOPICS["hours"][1]),
        ],
        [
            ("cancel my appointment", f"Of course. {WHAT_NAME}"),
            ("sorry what", f"Sorry? {WHAT_NAME}"),
            ("never mind", "No problem at all. What else can I do for you?"),
            ("hello", GREETING),
        ],
        [("book me in", f"Of course. {WHICH_DAY}"), ("no thanks", FAREWELL)],
    ],
)  # fmt: skip
def test_a_booking_takes_several_turns_and_other_questions(dialog: list[tuple[str, str]]) -> None:
    said = [caller for caller, _ in dialog]
    answers = [answer(turn(*said[: place + 1]))[0] for place in range(len(dialog))]
    assert answers == [robin for _, robin in dialog]


@pytest.mark.parametrize(
    ("said", "spoken"),
    [
        ("9 a.m.", "nine in the morning"),
        ("at 12", "twelve in the afternoon"),
        ("at 5:45 pm", "quarter to six in the afternoon"),
        ("quarter past two", "quarter past two in the afternoon"),
        ("four thirty", "half past four in the afternoon"),
        ("eleven o'clock", "eleven in the morning"),
        ("not at 7, rather at 14.00", "two in the afternoon"),
    ],
)
def test_a_time_is_spoken_in_words(said: str, spoken: str) -> None:
    assert f"Wednesday at {spoken}." in answer(turn(f"book Wednesday, my name is Jo, {said}"))[0]


def test_goodbye_ends_the_call_with_the_arguments_of_the_offered_schema() -> None:
    bare = tool("end_call", reason=TEXT)
    speaking = tool("end_call", "message", message=TEXT)
    reason = "The caller said goodbye."
    assert answer_parts(turn("bye", tools=(WEATHER, END))) == (FAREWELL, "end_call", {"reason": reason})
    assert answer_parts(turn("bye", tools=(bare,))) == (FAREWELL, "end_call", {"reason": reason})
    assert answer_parts(turn("bye", tools=(Tool("endCall"),))) == (FAREWELL, "endCall", {})
    assert answer_parts(turn("bye", tools=(speaking,))) == ("", "end_call", {"message": FAREWELL})
    assert answer_parts(turn("bye", tools=(WEATHER,))) == (FAREWELL, None, None)


def test_a_human_is_reached_by_transfer_to_a_number_that_the_request_names() -> None:
    reason = "The caller asked for a person."
    said = "let me speak to a human"
    arguments = {
        "transfer_number": "+4930123456",
        "client_message": TRANSFER,
        "agent_message": reason,
        "reason": reason,
    }
    assert answer_parts(turn(said, tools=(END, TO_NUMBER))) == ("", "transfer_to_number", arguments)
    vapi = tool(
        "transferCall", "destination", destination={"type": "string", "enum": ["+15550100", "+15550101"]}
    )
    assert answer_parts(turn(said, tools=(vapi,))) == (TRANSFER, "transferCall", {"destination": "+15550100"})


def test_a_transfer_without_a_known_number_is_not_called() -> None:
    nowhere = tool("transfer_to_number", "transfer_number", transfer_number=TEXT)
    assert answer_parts(turn("a human please", tools=(nowhere,))) == (TOPICS["human"][1], None, None)


@pytest.mark.parametrize(
    ("name", "said", "city"),
    [
        ("get_weather", "Use get_weather for Paris, please.", "Paris"),
        ("get_weather", "use get weather in new york", "new york"),
        ("getWeather", "Get weather", "Get weather"),
        ("weather", "what is the weather", "what is the weather"),
    ],
)
def test_a_tool_is_called_when_its_name_is_said(name: str, said: str, city: str) -> None:
    offered = tool(name, "city", "unit", **WEATHER.parameters["properties"])
    assert answer_parts(turn(said, tools=(END, offered))) == ("", name, {"city": city, "unit": "celsius"})


def test_a_tool_name_inside_another_word_does_not_count() -> None:
    assert answer_parts(turn("hello", tools=(tool("ell"), tool("___")))) == (GREETING, None, None)


def test_a_tool_without_required_arguments_gets_all() -> None:
    offered = Tool("note", "", {"properties": {"text": TEXT, "loud": {"type": "boolean"}}})
    assert answer_parts(turn("note buy milk", tools=(offered,))) == (
        "",
        "note",
        {"text": "buy milk", "loud": True},
    )


def test_tool_choice_is_honoured() -> None:
    offered = (WEATHER, END)
    weather = {"city": "hello", "unit": "celsius"}
    named = {"type": "function", "function": {"name": "end_call"}}
    flat = {"type": "function", "name": "end_call"}
    unknown = {"type": "function", "function": {"name": "reboot"}}
    assert answer_parts(turn("bye", tools=offered, tool_choice="none")) == (FAREWELL, None, None)
    assert answer_parts(turn("hello", tools=offered, tool_choice="auto")) == (GREETING, None, None)
    assert answer_parts(turn("hello", tools=offered, tool_choice="required")) == ("", "get_weather", weather)
    assert answer_parts(turn("bye", tools=offered, tool_choice="required"))[1] == "end_call"
    assert answer_parts(turn("hello", tools=offered, tool_choice=named)) == (
        "",
        "end_call",
        {"reason": "hello"},
    )
    assert answer_parts(turn("hello", tools=offered, tool_choice=flat)) == (
        "",
        "end_call",
        {"reason": "hello"},
    )
    assert answer_parts(turn("hello", tools=offered, tool_choice=unknown)) == (GREETING, None, None)
    assert answer_parts(turn("hello", tool_choice="required")) == (GREETING, None, None)


@pytest.mark.parametrize(
    ("results", "text"),
    [
        (['{"temperature":-21.5,"sky_state":"clear blue","days":[1,2]}'],
         "Here is what I found: temperature minus 21.5, sky state clear blue, days 1, 2."),
        (["It rains. **Take** care!"], "Here is what I found: It rains. Take care!"),
        (['{"status": "success"}'], "That is done."),
        ([""], "That is done."),
        (['{"status":"failed"}'], "I am sorry, that did not work."),
        (['{"error": "no such city"}'], "I am sorry, that did not work."),
        (["20%", "3°"], "Here is what I found: 20 percent. Here is what I found: 3 degrees."),
    ],
)  # fmt: skip
def test_tool_results_are_spoken_even_if_a_call_is_forced(results: list[str], text: str) -> None:
    assert answer(after_tool(*results, tools=(END,), tool_choice="required")) == (text, None)


@pytest.mark.parametrize(
    ("schema", "said", "expected"),
    [
        ({"const": 4}, "five", 4),
        ({"type": "string", "enum": ["b", "a"]}, "a", "b"),
        ({"type": "string", "examples": ["x"]}, "a", "x"),
        ({"type": "integer"}, "in 007 days or 8", 7),
        ({"type": "integer", "minimum": 1}, "now", 1),
        ({"type": "integer", "minimum": 1, "maximum": 5}, "in 9 days", 5),
        ({"type": "number"}, "about 0.5 miles", 0.5),
        ({"type": "boolean"}, "no", True),
        ({"type": ["null", "string"]}, "hm", None),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "4", 4),
        ({"type": "array", "items": {"type": "integer"}}, "4", [4]),
        ({"type": "object", "properties": {"a": TEXT, "b": TEXT}, "required": ["b"]}, "hm", {"b": "hm"}),
        ({"type": "object"}, "hm", {}),
        (None, "hm", "hm"),
    ],
)
def test_a_value_fits_its_schema(schema: Any, said: str, expected: Any) -> None:
    assert make_value(schema, said) == expected
    assert type(make_value(schema, said)) is type(expected)


WORDS = st.lists(
    st.sampled_from(
        ["book", "move", "cancel", "it", "Friday", "at", "ten", "11:30", "my name is", "O'Hara", "*", "#"]
    )
    | st.text(max_size=12)
).map(" ".join)


@given(st.lists(WORDS, min_size=1, max_size=6))
def test_any_message_gets_an_answer_that_can_be_spoken(said: list[str]) -> None:
    text, call = answer(turn(*said, tools=(WEATHER, END, TO_NUMBER), tool_choice="none"))
    assert call is None
    assert text
    assert re.fullmatch(r"[\w\s.,:?!'’-]+", text)
    assert "_" not in text


@given(WORDS)
def test_only_an_offered_tool_is_ever_called(said: str) -> None:
    for offered in ((), (END,), (WEATHER, TO_NUMBER)):
        _, call = answer(turn(said, tools=offered))
        assert call is None or call.name in {tool.name for tool in offered}


def test_the_work_for_a_very_long_call_is_bounded() -> None:
    texts = ["my name is Jo, book Friday at ten", *["change " * 100_000] * 3, *["hm"] * 200]
    assert answer(turn(*texts))[0] == "Let me note that down: hm. Is there anything else?"


def test_prompts_of_the_gateway_are_not_repeated_back() -> None:
    assert answer(turn(CALL_START_PROMPT)) == (GREETING, None)
    assert answer(turn("Hello", SILENCE_PROMPT)) == (SILENCE, None)
    assert answer(turn(KEYPAD_PROMPT.format(digits="47#"))) == (
        "You pressed 4 7 #. What can I do for you?",
        None,
    )
