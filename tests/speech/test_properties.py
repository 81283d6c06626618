"""Properties of every text and every cut: Markdown, markup, other scripts, half characters, noise."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator, Sequence
from itertools import islice, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.speech.texts import CUTS, OPTIONS, REPLACED, TEXTS, cut_text, speak
from voicegw.speech.filter import SpeechFilter
from voicegw.speech.options import SpeechOptions


@settings(max_examples=600)
@given(TEXTS, CUTS, OPTIONS)
def test_speech_does_not_depend_on_the_cuts(text: str, cuts: list[int], options: SpeechOptions) -> None:
    assert speak(cut_text(text, cuts), options) == speak([text], options)


@settings(max_examples=400)
@given(TEXTS, OPTIONS)
def test_speech_is_the_same_character_by_character(text: str, options: SpeechOptions) -> None:
    assert speak(text, options) == speak([text], options)


TOKENS = [
    "Hi", " there", " you", "a ", "word ", " is ", "nice", ".", ". ", ", ", "! ", " ", "  ", " .", " [1]",
    "[1]", "[2", "]", " 😀", "😀 ", "\u200b", " \u200b", "*", " *", "* ", "**", " `x` ", "\n", " \n", "\n\n",
    "\n- ", "-", " –", "你好", "。", " &", "amp; ", " <b>", "</b> ", "<br>", " https", "://a.b", " |", "→ ",
    "*", "7", "5$", " (", " :", "✅", "❌", "★", "<branch>", "~~5~~", "^2", "/a", "\\n", "\x1b[1m",
    "\r", "> 5", "A",
    " API", "C", "#", "\ud840", "\udc00",
]  # fmt: skip


@settings(max_examples=400)
@given(st.lists(st.sampled_from(TOKENS), max_size=10), OPTIONS)
def test_speech_is_the_same_token_by_token(tokens: list[str], options: SpeechOptions) -> None:
    """Models send blanks before words or after them, and markup in pieces."""
    assert speak(tokens, options) == speak(["".join(tokens)], options)


def test_speech_is_the_same_for_triples_of_tokens() -> None:
    """A third of all triples; every pair is in one of them."""
    for tokens in islice(product(TOKENS, repeat=3), None, None, 3):
        assert speak(tokens) == speak(["".join(tokens)]), tokens


def test_a_character_that_was_cut_in_two_is_one_again() -> None:
    assert speak(["a \ud840", "\udc00. b"]) == speak(["a \ud840\udc00. b"]) == "a \U00020000. b"
    assert speak(["a \ud83d", "", "\ude00. b"]) == speak(["a \ud83d\ude00. b"]) == "a. b"
    assert speak(["a \ud840", "b", "\udc00 c"]) == speak(["a \ud840b\udc00 c"]) == "a b c"


MARKUP = "*_`[]()<>#-|\n a1$\\!&h:/."


def sample_strings(alphabet: str, length: int, every: int) -> Iterator[str]:
    """Yield one of every `every` strings of this length over the alphabet."""
    for number in range(0, len(alphabet) ** length, every):
        text = ""
        for _ in range(length):
            number, place = divmod(number, len(alphabet))
            text += alphabet[place]
        yield text


@pytest.mark.parametrize(("length", "every"), [(1, 1), (2, 1), (3, 1), (4, 47), (5, 1009)])
def test_speech_of_short_markup_is_the_same_for_every_cut(length: int, every: int) -> None:
    """All strings of up to three characters, in all pieces; a sample of the longer ones."""
    for text in sample_strings(MARKUP, length, every):
        whole = speak([text])
        assert speak(text) == whole, repr(text)
        if length == 3:
            assert speak([text[:1], text[1:]]) == speak([text[:2], text[2:]]) == whole, repr(text)


ALPHABETS = [
    "*_ a\n", "`~ a\n", "[]()a!", "<>/!-b", "#=- a\n", "|-: a\n", "*1 .#", "~a$ 5", "/a. ", "^1(a",
    "★☆⭐ 1", "❌✅ :a", "\x1b[0m]", "\\n a-", "C:\\a ", "\\.a n", "~/a.`", "*a@ (",
    "+- 1%", "{\"a:\n", "$\\( )1", "&#38;a", "> 1.\n", "\n a",
]  # fmt: skip


@pytest.mark.parametrize("alphabet", ALPHABETS)
def test_speech_of_one_kind_of_markup_is_the_same_character_by_character(alphabet: str) -> None:
    for length in range(1, 6):
        for letters in product(alphabet, repeat=length):
            assert speak(letters) == speak(["".join(letters)]), repr("".join(letters))


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
def test_speech_of_any_text_has_only_speakable_characters(text: str, cuts: list[int]) -> None:
    speech_filter = SpeechFilter(SpeechOptions())
    speech = ""
    for piece in cut_text(text, cuts):
        speech += speech_filter.feed(piece)
        assert_speakable(speech)
    assert_speakable(speech + speech_filter.flush())


@given(TEXTS, OPTIONS)
def test_speech_has_only_speakable_characters_with_every_option(text: str, options: SpeechOptions) -> None:
    """The attributes of a kept tag are exempt: they are for the platform."""
    if not options.keep_tags:
        assert_speakable(speak([text], options))


@settings(max_examples=300)
@given(TEXTS, OPTIONS)
def test_pending_never_exceeds_max_held_chars(text: str, options: SpeechOptions) -> None:
    speech_filter = SpeechFilter(options)
    for character in text:
        speech_filter.feed(character)
        assert len(speech_filter.pending) <= options.max_held_chars


UNITS = [
    "[", "![", "<", "<think", "<a b='", "*", "`", "$", "\\", "\\(", "&", "&amp", "|", "a|", "(", "](",
    "http://",
    "> ", "- ", "#", "=", "-", "1", "\n", " ", "\t", "【", "◁", "a", "你", "\u0301", "\u200d", "\ud83d",
    "😀", "\x1b[", "\x1b]", "~~a", "<sup>",
    "*1", "**1", "([1]", "{\"a", "/a", "^1", "\\n", "★", "↑", "<|a", "<a|", "[1] a", "> 1", "+-",
    " :c", "(", "\r",
]  # fmt: skip


@pytest.mark.parametrize("unit", UNITS)
def test_a_run_of_one_mark_never_exceeds_max_held_chars(unit: str) -> None:
    speech_filter = SpeechFilter(SpeechOptions())
    for _ in range(300):
        speech_filter.feed(unit)
        assert len(speech_filter.pending) <= SpeechOptions().max_held_chars


@pytest.mark.parametrize("unit", [*UNITS, "> - ", "```md\n", "<b>", "<note>", "|a", "|a|\n|-|\n", "a\n\n"])
def test_state_does_not_grow_with_the_text(unit: str) -> None:
    speech_filter = SpeechFilter(SpeechOptions(silent_tags=frozenset({"note"}), words=REPLACED))
    sizes = []
    for _ in range(2):
        for _ in range(2000):
            speech_filter.feed(unit)
        sizes.append(len(pickle.dumps(speech_filter)))
    assert sizes[1] <= sizes[0] + 8 * SpeechOptions().max_held_chars


LETTERS = "abcdefgijklmnopqrstuvxyzABCXYZäéßñçøαβγΩдежяאבגابتثअआकखกขค你好世界ひらカナ한국"
"""Without the letters that may begin an address: an `h` waits, as it may become "https://"."""
WORD = st.text(LETTERS, min_size=1, max_size=9)
PROSE = st.lists(st.tuples(WORD, st.sampled_from(["", "", "", *".,;:!?"])), max_size=12).map(
    lambda words: " ".join(word + mark for word, mark in words).lstrip("aAd ")
)
"""Without an "a" or a "d" at the start, which waits, as it may become "assistant:" or "diff --git"."""


@settings(max_examples=300)
@given(PROSE, CUTS)
def test_plain_prose_is_returned_by_the_feed_that_brought_it(text: str, cuts: list[int]) -> None:
    """Only the blank after a word is returned with the next delta."""
    speech_filter = SpeechFilter(SpeechOptions())
    received, returned = "", ""
    for piece in cut_text(text, cuts):
        received += piece
        waits = received[-1:] == " " and received[-2].isalpha()
        returned += speech_filter.feed(piece)
        assert returned == (received[:-1] if waits else received)
        assert not speech_filter.has_held_words
    assert speech_filter.flush() == ""


@given(
    st.lists(
        st.sampled_from(["how", "https", "will", "www", "You", "ça", "好", "क्या"]), min_size=1, max_size=12
    )
)
def test_words_with_a_blank_behind_them_are_returned_at_once(words: list[str]) -> None:
    """A word that begins like an address is decided by the blank behind it."""
    speech_filter = SpeechFilter(SpeechOptions())
    for word in words:
        assert speech_filter.feed(word + " ").endswith(word)


@given(PROSE, CUTS)
def test_release_after_plain_prose_returns_no_words(text: str, cuts: list[int]) -> None:
    speech_filter = SpeechFilter(SpeechOptions())
    speech = ""
    for piece in cut_text(text, cuts):
        speech += speech_filter.feed(piece)
        rest = speech_filter.release()
        assert rest == ""
        assert not speech_filter.has_held_words
        speech += rest
    assert speech + speech_filter.flush() == text


@settings(max_examples=300)
@given(TEXTS, CUTS, st.sets(st.integers(0, 12)), OPTIONS)
def test_release_anywhere_keeps_speech_speakable(
    text: str, cuts: list[int], stalls: set[int], options: SpeechOptions
) -> None:
    """`release` decides all held words, and the text behind them can still be spoken."""
    speech_filter = SpeechFilter(options)
    speech = ""
    for place, piece in enumerate(cut_text(text, cuts)):
        speech += speech_filter.feed(piece)
        if place in stalls:
            speech += speech_filter.release()
            assert not speech_filter.has_held_words
            assert speech_filter.release() == ""
    speech += speech_filter.flush()
    if not options.keep_tags:
        assert_speakable(speech)


@settings(max_examples=300)
@given(TEXTS, CUTS, OPTIONS)
def test_release_without_held_words_changes_nothing(
    text: str, cuts: list[int], options: SpeechOptions
) -> None:
    speech_filter = SpeechFilter(options)
    speech = ""
    for piece in cut_text(text, cuts):
        speech += speech_filter.feed(piece)
        if not speech_filter.has_held_words:
            assert speech_filter.release() == ""
    assert speech + speech_filter.flush() == speak([text], options)


@given(TEXTS, OPTIONS)
def test_flush_leaves_nothing_pending(text: str, options: SpeechOptions) -> None:
    speech_filter = SpeechFilter(options)
    speech_filter.feed(text)
    speech_filter.flush()
    assert (speech_filter.pending, speech_filter.has_held_words) == ("", False)


@settings(max_examples=200)
@given(st.lists(st.sampled_from(["Hello ", "there. ", "Good ", "day"]), max_size=5), TEXTS)
def test_reasoning_is_silent_with_any_content(words: Sequence[str], thought: str) -> None:
    before = "".join(words)
    thought = "Hm " + re.sub(r"(?i)/?(think|note)|script|[◁▷]|<|\[", "", thought)  # no mention of the tag
    assert speak([before, "<think>", thought]) == speak([before])


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
        "1<del>2\n\n3</del>",
    ],
)
def test_texts_that_once_depended_on_their_cut(text: str) -> None:
    whole = speak([text])
    for size in (1, 2, 3, 5, 7):
        assert speak([text[at : at + size] for at in range(0, len(text), size)]) == whole
