"""When the agent pauses, `release` returns the held words and changes nothing else; the end of a text."""

from __future__ import annotations

import pytest

from voicegw.speech.filter import SpeechFilter
from voicegw.speech.options import SpeechOptions

PAUSE = "¦"


def speak(text: str, options: SpeechOptions | None = None) -> str:
    """Return the speech of a text whose agent pauses at each `PAUSE` sign."""
    speech_filter = SpeechFilter(options or SpeechOptions(code="CODE."))
    *pieces, rest = text.split(PAUSE)
    speech = "".join(speech_filter.feed(piece) + speech_filter.release() for piece in pieces)
    return speech + speech_filter.feed(rest) + speech_filter.flush()


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
def test_release_within_a_mark_changes_nothing(text: str) -> None:
    assert speak(text) == speak(text.replace(PAUSE, ""))


@pytest.mark.parametrize(
    ("before", "released", "after", "rest"),
    [
        ("See [the docs", "See the docs", " of ours](https://a.com).", " of ours."),
        ("See [th", "See", "e docs](https://a.com).", " the docs."),
        ("See [the docs ", "See the docs", "of ours](https://a.com).", " of ours."),
        ("Dial *67 before the", "Dial *67 before the", " call.", " call."),
        ("It is ~~five and", "It is five and", " six~~ seven.", " six seven."),
        ("The sky is blue [1] and wi", "The sky is blue and wi", "de.", "de."),
        ("The code is [7] and wi", "The code is [7] and wi", "de.", "de."),
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
def test_release_returns_held_words(before: str, released: str, after: str, rest: str) -> None:
    speech_filter = SpeechFilter()
    assert speech_filter.feed(before) + speech_filter.release() == released
    assert not speech_filter.has_held_words
    assert speech_filter.release() == ""
    assert speech_filter.feed(after) + speech_filter.flush() == rest


def test_has_held_words_tells_whether_release_returns_anything() -> None:
    for text, has_held_words in [
        ("Hello ", False),
        ("<thi", False),
        ("**", False),
        ("[a word or two", True),
        ("# Hi\n", True),
    ]:
        speech_filter = SpeechFilter()
        speech_filter.feed(text)
        assert speech_filter.has_held_words is has_held_words, text


def test_release_returns_a_word_that_may_be_replaced() -> None:
    speech_filter = SpeechFilter(SpeechOptions(words={"New York": "the city"}))
    assert speech_filter.feed("I like New") == "I like "
    assert speech_filter.has_held_words
    assert speech_filter.release() == "New"
    assert speech_filter.feed(" York.") + speech_filter.flush() == " York."


def test_feed_after_flush_begins_a_new_text_after_a_blank() -> None:
    speech_filter = SpeechFilter()
    assert speech_filter.feed("- Let me check") + speech_filter.flush() == "Let me check."
    assert speech_filter.feed("It is *so*") + speech_filter.flush() == " It is so"
    assert speech_filter.flush() == ""


@pytest.mark.parametrize("text", ["👍", "---", "[1]", "![](https://a.com/b.png)", "https://a.com"])
def test_an_answer_of_signs_alone_is_spoken_as_options_nothing(text: str) -> None:
    assert speak(text, SpeechOptions(urls="drop", nothing="Okay.")) == "Okay."


@pytest.mark.parametrize("text", ["```\nx = 1\n```", '{"a": 1}', "👍\n\n```\nx\n```"])
def test_an_answer_of_code_alone_is_spoken_as_its_note_or_as_options_nothing(text: str) -> None:
    assert speak(text, SpeechOptions(code="Code.", output="Code.")) == "Code."
    assert speak(text, SpeechOptions(code="", output="", nothing="Okay.")) == "Okay."


def test_release_drops_no_part_of_an_escape_sequence() -> None:
    assert speak("Hi \x1b[3¦1mAda\x1b[¦0m.") == "Hi Ada."
    assert speak("Hi \x1b]0;ti¦tle\x07Ada.") == "Hi Ada."


@pytest.mark.parametrize("text", ["", " \n", "<think>Hm.</think>", "<b></b>"])
def test_an_answer_without_visible_text_is_silent(text: str) -> None:
    assert speak(text) == ""
