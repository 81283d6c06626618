"""What holds for every text, however it comes: Markdown, markup, other scripts, half characters, noise."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator, Sequence
from itertools import islice, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.speech.texts import CUTS, REPLACED, STYLES, TEXTS, cut, spoken
from voicegw.speech.filter import SpeechFilter
from voicegw.speech.options import SpeechOptions


@settings(max_examples=600)
@given(TEXTS, CUTS, STYLES)
def test_what_comes_out_does_not_depend_on_the_cuts(text: str, cuts: list[int], style: SpeechOptions) -> None:
    assert spoken(cut(text, cuts), style) == spoken([text], style)


@settings(max_examples=400)
@given(TEXTS, STYLES)
def test_a_text_may_come_character_by_character(text: str, style: SpeechOptions) -> None:
    assert spoken(text, style) == spoken([text], style)


TOKENS = [
    "Hi", " there", " you", "a ", "word ", " is ", "nice", ".", ". ", ", ", "! ", " ", "  ", " .", " [1]",
    "[1]", "[2", "]", " 😀", "😀 ", "\u200b", " \u200b", "*", " *", "* ", "**", " `x` ", "\n", " \n", "\n\n",
    "\n- ", "-", " –", "你好", "。", " &", "amp; ", " <b>", "</b> ", "<br>", " https", "://a.b", " |", "→ ",
    " API", "C", "#", "\ud840", "\udc00",
]  # fmt: skip


@settings(max_examples=400)
@given(st.lists(st.sampled_from(TOKENS), max_size=10), STYLES)
def test_a_text_may_come_token_by_token(tokens: list[str], style: SpeechOptions) -> None:
    """As models send them: blanks before words or after them, and markup in pieces."""
    assert spoken(tokens, style) == spoken(["".join(tokens)], style)


def test_every_few_tokens_may_come_by_themselves() -> None:
    """A third of all triples, in which every pair is."""
    for tokens in islice(product(TOKENS, repeat=3), None, None, 3):
        assert spoken(tokens) == spoken(["".join(tokens)]), tokens


def test_a_character_that_was_cut_in_two_is_one_again() -> None:
    assert spoken(["a \ud840", "\udc00. b"]) == spoken(["a \ud840\udc00. b"]) == "a \U00020000. b"
    assert spoken(["a \ud83d", "", "\ude00. b"]) == spoken(["a \ud83d\ude00. b"]) == "a. b"
    assert spoken(["a \ud840", "b", "\udc00 c"]) == spoken(["a \ud840b\udc00 c"]) == "a b c"


NASTY = "*_`[]()<>#-|\n a1$\\!&h:/."


def sample(alphabet: str, length: int, every: int) -> Iterator[str]:
    """Of all strings of this length over the alphabet, one in so many."""
    for number in range(0, len(alphabet) ** length, every):
        text = ""
        for _ in range(length):
            number, place = divmod(number, len(alphabet))
            text += alphabet[place]
        yield text


@pytest.mark.parametrize(("length", "every"), [(1, 1), (2, 1), (3, 1), (4, 47), (5, 1009)])
def test_short_strings_of_markup_may_come_in_any_pieces(length: int, every: int) -> None:
    """All of them up to three characters, in all pieces; a sample of the longer ones."""
    for text in sample(NASTY, length, every):
        whole = spoken([text])
        assert spoken(text) == whole, repr(text)
        if length == 3:
            assert spoken([text[:1], text[1:]]) == spoken([text[:2], text[2:]]) == whole, repr(text)


ALPHABETS = [
    "*_ a\n", "`~ a\n", "[]()a!", "<>/!-b", "#=- a\n", "|-: a\n", "$\\( )1", "&#38;a", "> 1.\n", "\n a",
]  # fmt: skip


@pytest.mark.parametrize("alphabet", ALPHABETS)
def test_all_strings_of_one_kind_of_markup_may_come_character_by_character(alphabet: str) -> None:
    for length in range(1, 6):
        for letters in product(alphabet, repeat=length):
            assert spoken(letters) == spoken(["".join(letters)]), repr("".join(letters))


UNSPEAKABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufe0e\ufe0f"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
"""Control and zero-width characters, direction marks, halves of characters; some scripts need joiners."""


def assert_speakable(speech: str) -> None:
    assert not UNSPEAKABLE.search(speech), repr(speech)
    assert "  " not in speech
    assert not speech.startswith(" ")


@settings(max_examples=400)
@given(TEXTS | st.text() | st.text(st.characters()), CUTS)
def test_whatever_comes_in_what_comes_out_can_be_spoken(text: str, cuts: list[int]) -> None:
    machine = SpeechFilter(SpeechOptions())
    speech = ""
    for piece in cut(text, cuts):
        speech += machine.feed(piece)
        assert_speakable(speech)
    assert_speakable(speech + machine.flush())


@given(TEXTS, STYLES)
def test_no_setting_makes_speech_unspeakable(text: str, style: SpeechOptions) -> None:
    """Save what a kept tag holds: that is for the platform."""
    if not style.keep_tags:
        assert_speakable(spoken([text], style))


@settings(max_examples=300)
@given(TEXTS, STYLES)
def test_no_more_is_undecided_than_may_be_held(text: str, style: SpeechOptions) -> None:
    machine = SpeechFilter(style)
    for character in text:
        machine.feed(character)
        assert len(machine.pending) <= style.max_held_chars


UNITS = [
    "[", "![", "<", "<think", "<a b='", "*", "`", "$", "\\", "\\(", "&", "&amp", "|", "a|", "(", "](", "http://",
    "> ", "- ", "#", "=", "-", "1", "\n", " ", "\t", "【", "◁", "a", "你", "\u0301", "\u200d", "\ud83d", "😀",
]  # fmt: skip


@pytest.mark.parametrize("unit", UNITS)
def test_no_run_of_one_mark_is_held_without_end(unit: str) -> None:
    machine = SpeechFilter(SpeechOptions())
    for _ in range(300):
        machine.feed(unit)
        assert len(machine.pending) <= SpeechOptions().max_held_chars


@pytest.mark.parametrize("unit", [*UNITS, "> - ", "```md\n", "<b>", "<note>", "|a", "|a|\n|-|\n", "a\n\n"])
def test_what_is_remembered_of_a_long_text_does_not_grow(unit: str) -> None:
    machine = SpeechFilter(SpeechOptions(silent_tags=frozenset({"note"}), words=REPLACED))
    sizes = []
    for _ in range(2):
        for _ in range(2000):
            machine.feed(unit)
        sizes.append(len(pickle.dumps(machine)))
    assert sizes[1] <= sizes[0] + 8 * SpeechOptions().max_held_chars


LETTERS = "abcdefgijklmnopqrstuvxyzABCXYZäéßñçøαβγΩдежяאבגابتثअआकखกขค你好世界ひらカナ한국"
"""None that may begin an address: an `h` waits for what may become "https://"."""
WORD = st.text(LETTERS, min_size=1, max_size=9)
PROSE = st.lists(st.tuples(WORD, st.sampled_from(["", "", "", *".,;:!?"])), max_size=12).map(
    lambda words: " ".join(word + mark for word, mark in words)
)


@settings(max_examples=300)
@given(PROSE, CUTS)
def test_plain_prose_leaves_in_the_call_that_brought_it(text: str, cuts: list[int]) -> None:
    """Only the blank after a word comes with what is next."""
    machine = SpeechFilter(SpeechOptions())
    come, gone = "", ""
    for piece in cut(text, cuts):
        come += piece
        waits = come[-1:] == " " and come[-2].isalpha()
        gone += machine.feed(piece)
        assert gone == (come[:-1] if waits else come)
        assert not machine.held
    assert machine.flush() == ""


@given(
    st.lists(
        st.sampled_from(["how", "https", "will", "www", "You", "ça", "好", "क्या"]), min_size=1, max_size=12
    )
)
def test_whole_words_with_their_blank_never_wait(words: list[str]) -> None:
    """As most models send them: the blank comes before the word; an address would not end here."""
    machine = SpeechFilter(SpeechOptions())
    for word in words:
        assert machine.feed(word + " ").endswith(word)


@given(PROSE, CUTS)
def test_after_prose_there_is_only_a_blank_to_release(text: str, cuts: list[int]) -> None:
    machine = SpeechFilter(SpeechOptions())
    speech = ""
    for piece in cut(text, cuts):
        speech += machine.feed(piece)
        rest = machine.release()
        assert rest == ""
        assert not machine.held
        speech += rest
    assert speech + machine.flush() == text


@settings(max_examples=300)
@given(TEXTS, CUTS, st.sets(st.integers(0, 12)), STYLES)
def test_a_stall_is_survived_anywhere(
    text: str, cuts: list[int], stalls: set[int], style: SpeechOptions
) -> None:
    """What is held is decided, and what follows can still be spoken."""
    machine = SpeechFilter(style)
    speech = ""
    for place, piece in enumerate(cut(text, cuts)):
        speech += machine.feed(piece)
        if place in stalls:
            speech += machine.release()
            assert not machine.held
            assert machine.release() == ""
    speech += machine.flush()
    if not style.keep_tags:
        assert_speakable(speech)


@settings(max_examples=300)
@given(TEXTS, CUTS, STYLES)
def test_a_stall_while_nothing_is_held_changes_nothing(
    text: str, cuts: list[int], style: SpeechOptions
) -> None:
    machine = SpeechFilter(style)
    speech = ""
    for piece in cut(text, cuts):
        speech += machine.feed(piece)
        if not machine.held:
            assert machine.release() == ""
    assert speech + machine.flush() == spoken([text], style)


@given(TEXTS, STYLES)
def test_after_the_end_nothing_is_left(text: str, style: SpeechOptions) -> None:
    machine = SpeechFilter(style)
    machine.feed(text)
    machine.flush()
    assert (machine.pending, machine.held) == ("", False)


@settings(max_examples=200)
@given(st.lists(st.sampled_from(["Hello ", "there. ", "Good ", "day"]), max_size=5), TEXTS)
def test_reasoning_is_silent_whatever_it_holds(words: Sequence[str], thought: str) -> None:
    before = "".join(words)
    thought = re.sub(r"(?i)/?(think|note)|script|[◁▷]|<|\[", "", thought)
    assert spoken([before, "<think>", thought]) == spoken([before])


@pytest.mark.parametrize(
    "text",
    [
        "https://anna:pw@example.com/x now",
        "http://@3",
        "Nice 🙂\ue200cite\ue202turn0search1\ue201.",
        "$$ \n\\frac{a}{b} \\times **c**\n$$\nDone.",
        "[docs]: documentation.example.com/guide for all of it\nNext",
        "```\n~```\nc",
        "~~~\n`~~~\nb",
        "：  e` \nc",
        26 * "a b " + "\nC",
        "ewww)½naïvewww)½wwwwwwnaïve))½wwwwwwwwwwwwnaïvewww½½\n[",
        "\\(\\frac12 {x}\\)",
    ],
)
def test_what_once_depended_on_its_cut_does_no_more(text: str) -> None:
    whole = spoken([text])
    for size in (1, 2, 3, 5, 7):
        assert spoken([text[at : at + size] for at in range(0, len(text), size)]) == whole
