"""When the agent pauses: words that wait are let go, and nothing else changes."""

from __future__ import annotations

import pytest

from voicegw.speech.filter import SpeechFilter
from voicegw.speech.options import SpeechOptions

PAUSE = "¦"


def speak(text: str, style: SpeechOptions | None = None) -> str:
    """The text is cut at its pauses, and after each piece the agent pauses."""
    machine = SpeechFilter(style or SpeechOptions(code="CODE."))
    *pieces, rest = text.split(PAUSE)
    said = "".join(machine.feed(piece) + machine.release() for piece in pieces)
    return said + machine.feed(rest) + machine.flush()


@pytest.mark.parametrize(
    "text",
    [
        "<think>x<¦/think>Bye",
        "<think>x</th¦ink>Bye",
        "<th¦ink>secret plan</think>Hello",
        "<¦think>secret plan</think>Hello",
        "[TH¦INK]secret[/TH¦INK]Hello",
        "◁thi¦nk▷secret◁¦/think▷Hello",
        "<scr¦ipt>x<¦/script>Bye",
        "<!¦-- x -¦->Bye",
        "```\nx\n``¦`\nBye",
        "``¦`py\nx\n`¦``\nBye",
        "Hello.\n\n**¦Important:** bring your passport.\n\nBye now.",
        "- **¦Item:** one\n- **¦Item:** two",
        "**¦Total:** $5",
        "- -¦5 degrees",
        "One **¦bold**",
        "##¦ Heading",
        "-¦ item",
        "[¦1]",
        "[docs]¦(https://a.com/b)",
        "https¦://www.a.com/b",
        "https://www.¦a.com/b",
        "Q &¦amp; A",
        "<¦b>x</b>",
        "$¦x^2$",
        "Good bye.<|im¦_end|>",
        "A [1]¦. B",
        "Para one\n¦\nPara two",
        "| A | B |\n|---|---|\n| Basic¦ | $9 |\n",
        "1¦. One\n2¦. Two",
        "It is 5 ¦* 3.",
        "I like it¦ 👍.",
    ],
)
def test_a_pause_within_a_mark_changes_nothing(text: str) -> None:
    assert speak(text) == speak(text.replace(PAUSE, ""))


@pytest.mark.parametrize(
    ("before", "said", "after", "rest"),
    [
        ("See [the docs", "See the docs", " of ours](https://a.com).", " of ours."),
        ("See [th", "See", "e docs](https://a.com).", " the docs."),
        ("See [the docs ", "See the docs", "of ours](https://a.com).", " of ours."),
        ("It has $AB and", "It has $AB and", " more", " more"),
        ("It is $x and then", "It is $x and then", "y$ too", "y$ too"),
        ("# Title\n", "Title. ", "Text", "Text"),
        ("- One\n- ", "One", "Two", ". Two."),
        ("One\n\n", "One. ", "Two", "Two"),
        ("| Name | Age |\n", "Name, Age. ", "|---|---|\n| Ada | 36 |\n", "Ada, 36."),
        ("| Name | A", "Name, A", "ge |\n|---|---|\n| Ada | 36 |\n", "ge. Ada, 36."),
        ("Hello", "Hello", " there", " there"),
        ("Hello ", "Hello", "there", " there"),
        ("Hello. ", "Hello. ", "There", "There"),
    ],
)
def test_words_that_wait_are_let_go(before: str, said: str, after: str, rest: str) -> None:
    machine = SpeechFilter()
    assert machine.feed(before) + machine.release() == said
    assert not machine.held
    assert machine.release() == ""
    assert machine.feed(after) + machine.flush() == rest


def test_only_what_would_be_let_go_counts_as_held() -> None:
    for text, held in [
        ("Hello ", False),
        ("<thi", False),
        ("**", False),
        ("[a word or two", True),
        ("# Hi\n", True),
    ]:
        machine = SpeechFilter()
        machine.feed(text)
        assert machine.held is held, text


def test_a_word_that_may_be_replaced_is_let_go() -> None:
    machine = SpeechFilter(SpeechOptions(words={"New York": "the city"}))
    assert machine.feed("I like New") == "I like "
    assert machine.held
    assert machine.release() == "New"
    assert machine.feed(" York.") + machine.flush() == " York."


def test_what_follows_the_end_of_a_text_is_a_text_of_its_own() -> None:
    machine = SpeechFilter()
    assert machine.feed("- Let me check") + machine.flush() == "Let me check."
    assert machine.feed("It is *so*") + machine.flush() == " It is so"
    assert machine.flush() == ""


@pytest.mark.parametrize("text", ["👍", "---", "[1]", "![](https://a.com/b.png)", "https://a.com"])
def test_of_an_answer_that_is_all_signs_something_is_said(text: str) -> None:
    assert speak(text, SpeechOptions(urls="drop", nothing="Okay.")) == "Okay."


@pytest.mark.parametrize("text", ["", " \n", "<think>Hm.</think>", "<b></b>"])
def test_of_no_answer_nothing_is_said(text: str) -> None:
    assert speak(text) == ""
