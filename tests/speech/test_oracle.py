"""The speech of well-formed Markdown has the words that a whole parser shows, in the same order.

The parser is markdown-it-py, which reads the finished text. Its tokens are adapted where the speech differs
on purpose: code blocks, tags and struck text are silent, the numbers of steps are spoken, addresses are
their domain. Struck text is what its author took back, such as an old price; text that is longer than the
window is spoken, therefore the struck pieces are short.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from voicegw.speech.filter import SpeechFilter
from voicegw.speech.options import SpeechOptions

PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
OPTIONS = SpeechOptions(tables="cells", code="", nothing="", done="")

# The text that the parser shows

ADDRESS = re.compile(r"(?:https?://(?:www\.)?|www\.)([\w.-]*\w)\S*")
TASK_BOX = re.compile(r"^\[[ x]\] ")


def shown_inline(tokens: Iterable[Token]) -> str:
    """Return the text that is shown of a paragraph, a heading or a cell."""
    shown, struck = "", 0
    for token in tokens:
        struck += token.nesting if token.type in ("s_open", "s_close") else 0
        if struck:
            continue
        if token.type in ("text", "code_inline"):
            shown += token.content
        elif token.type == "image":
            shown += shown_inline(token.children or ())
        elif token.type in ("softbreak", "hardbreak") or token.content == "<br>":
            shown += " "
    return shown


def shown_text(text: str) -> str:
    """Return the text that is shown of a document."""
    shown = []
    for token in PARSER.parse(text):
        assert token.type != "html_block", "what is generated should be well-formed"
        if token.type == "list_item_open":
            shown.append(token.info)
        elif token.type == "inline":
            shown.append(ADDRESS.sub(r"\1", TASK_BOX.sub("", shown_inline(token.children or ()))))
        elif token.type == "fence" and token.info in ("markdown", "md"):
            shown.append(shown_text(token.content))
    return " ".join(shown)


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def assert_same_words(text: str) -> None:
    speech_filter = SpeechFilter(OPTIONS)
    assert words(speech_filter.feed(text) + speech_filter.flush()) == words(shown_text(text))


# Well-formed Markdown: the text of a line

WORDS = [
    "word", "Ada", "no", "one", "Straße", "naïve", "don't", "你好", "世界", "мир", "مرحبا", "नमस्ते", "สวัสดี",
    "36", "2024", "3.14", "10:30", "snake_case", "C#", "AT&T", "e.g.", "well-known", "$5", "50%", "2 * 3 * 4",
    "5 > 3", "a < b", "i <3 u", "Q & A", "#1", "a_b@example.com", "+1", "(about ~5)", '"so"', "so – what",
]  # fmt: skip
CODES = [
    "`make`", "`a b`", "`f(x)`", "`x_y`", "`**kwargs`", "`a.b`", "`<b>`", "`&amp;`", "`1 * 2`", "`--help`",
    "`[i]`", "`$HOME`", "`\\n`", "`# no`", "``a`b``", "`` `so` ``",
]  # fmt: skip
ENTITIES = [
    "&amp;", "&lt;b&gt;", "caf&eacute;", "don&#39;t", "&#42;star&#42;", "&#x41;da", "&nbsp;", "&copy;",
]  # fmt: skip
ESCAPES = [
    "\\*star\\*", "\\# one", "\\_", "snake\\_case", "\\`tick\\`", "\\<b>", "\\&amp;", "\\!", "C:\\\\Users",
    "1\\. no", "\\- no", "\\> no", "\\~~no\\~~", "\\| no",
]  # fmt: skip
LONG = "https://example.com/" + "long-path/" * 9
ADDRESSES = [
    "https://www.example.com/a/b?c=d", "<https://example.com/a_b>", "http://a.example.org",
    "www.example.com/a", "<ada@example.com>", LONG,
]  # fmt: skip
TARGETS = [
    "https://example.com", "/a_b/c", "<a b>", 'https://example.com/x "A title"', "", "#top", "a(b)c", LONG,
]  # fmt: skip
TAGS = ["<b>{}</b>", "<span class='x y'>{}</span>", "<u>{}</u>", '<a href="/x?y=z&amp;w=1">{}</a>']
SILENT = ["<br>", " <!-- not shown -->", "<wbr>", "\u200b"]
ENDS = ["", "", "", "", ".", ",", "!", ":"]
BLANKS = [" ", " ", " ", " ", " ", "\n", "  \n", "\\\n"]
EMPHASIS = {"*": ["*{}*", "**{}**", "***{}***"], "_": ["_{}_", "__{}__"], "~": ["~~{}~~"]}
INSIDE = ["foo**{}**bar", "foo*{}*bar", "**{}**bar"]
PLAIN = st.sampled_from(WORDS)
SHORT = st.lists(PLAIN, min_size=1, max_size=3).map(" ".join)


def sample_of(*strings: list[str]) -> st.SearchStrategy[str]:
    return st.sampled_from([string for some in strings for string in some])


def fill(frames: list[str], *inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Build one of the frames with these texts in its places."""
    return st.builds(str.format, st.sampled_from(frames), *inner)


@cache
def piece(depth: int, links: bool, breaks: bool, signs: str) -> st.SearchStrategy[str]:
    """Build a word, or a marked piece: emphasis by these signs only, none of them within itself."""
    long = st.lists(PLAIN, min_size=3, max_size=20).map(" ".join)
    kinds = [PLAIN, PLAIN, PLAIN, long, sample_of(CODES, ENTITIES, ESCAPES)]
    kinds += [fill(["{}{}"], PLAIN, sample_of(SILENT))]
    if depth:
        others = {sign: line(depth - 1, links, breaks, signs.replace(sign, "")) for sign in signs}
        others |= {"~": SHORT} if "~" in others else {}
        kinds += [fill(EMPHASIS[sign], inner) for sign, inner in others.items()]
        kinds += [fill(TAGS, line(depth - 1, links, breaks, signs))]
        kinds += [fill(INSIDE, sample_of(["one", "二"]))] if "*" in signs else []
    if depth and links:
        text = line(depth - 1, False, breaks, signs).filter(re.compile(r"[^\W\d]").search)  # else a citation
        alt = line(0, False, breaks)
        kinds += [fill(["[{}]({})"], text, sample_of(TARGETS)), fill(["![{}]({})"], alt, sample_of(TARGETS))]
        kinds += [fill(["[{}][ref]", "[{}][The Other]"], text), fill(["at {}"], sample_of(ADDRESSES))]
    return st.one_of(kinds)


@cache
def line(depth: int, links: bool = True, breaks: bool = True, signs: str = "*_~") -> st.SearchStrategy[str]:
    """Build several pieces, with line breaks between them where these are allowed."""
    blank = sample_of(BLANKS) if breaks else st.just(" ")
    next_piece = piece(depth, links, breaks, signs)
    more = st.lists(fill(["{}{}{}"], sample_of(ENDS), blank, next_piece), max_size=2 + depth).map("".join)
    return st.builds("{}{}{}".format, next_piece, more, sample_of(ENDS))


# Well-formed Markdown: blocks, each without its last line end

MARKERS = ["- ", "* ", "+ ", "- [ ] ", "- [x] ", "1. ", "2) ", "10. "]
TITLES = ["# {}", "### {}", "## {} ##", "{}\n===", "{}\n---"]
FENCES = ["```\n{}\n```", "```python\n{}\n```", "~~~ sh\n{}\n~~~", "```\n{}\n\n{}\n```"]
SOURCE = sample_of(
    ["x = 1", "# no", "* no", "| a | b |", "<b>", "[no](no)", "> no", "    no", "`no`", "---", "~~"]
)
REFERENCES = "[ref]: https://example.com/of/ref\n[the other]: <https://example.com/other> 'A title'"


def indent(text: str, by: str) -> str:
    """Return the text with every line indented; an empty line of a list gets no blanks."""
    return "\n".join(by + row if row or not by.isspace() else "" for row in text.split("\n"))


def format_list(marker: str, gap: str, items: list[list[str]]) -> str:
    """Return a list: the parts of an item are indented like its text; numbers count up."""
    number = re.match(r"\d*", marker)[0]  # type: ignore[index]
    shown = []
    for place, parts in enumerate(items):
        marker_text = f"{int(number) + place}{marker[len(number) :]}" if number else marker
        width = len(marker_text.partition("[")[0])
        shown.append(marker_text + indent(gap.join(parts), " " * width)[width:])
    return gap.join(shown)


def format_table(pipes: bool, rows: list[list[str]]) -> str:
    """Return a table; its first row is the header."""
    frame = "| {} |" if pipes else "{}"
    return "\n".join(frame.format(" | ".join(row)) for row in [rows[0], [":--"] * len(rows[0]), *rows[1:]])


def rows(columns: int) -> st.SearchStrategy[list[list[str]]]:
    """Build the rows of a table. The first cell has a plain word: a table without outer pipes needs it."""
    cell = line(1, breaks=False) | st.just("")
    row = st.tuples(PLAIN.filter(str.isalpha), *[cell] * (columns - 1)).map(list)
    return st.lists(row, min_size=1, max_size=4)


def items(gap: str, *parts: st.SearchStrategy[list[str]]) -> st.SearchStrategy[str]:
    """Build a list of items that begin with a title and hold one of these parts."""
    item = st.builds(lambda title, parts: [title, *parts], line(1, breaks=False), st.one_of(parts))
    return st.builds(
        format_list, st.sampled_from(MARKERS), st.just(gap), st.lists(item, min_size=1, max_size=3)
    )


@cache
def block(depth: int, item: bool) -> st.SearchStrategy[str]:
    """Build a paragraph or another block; within a list item there is no indented code."""
    title = line(1, breaks=False)
    kinds = [line(2), line(2), fill(TITLES, title), st.sampled_from(["---", "***", "_ _ _"])]
    kinds += [fill(FENCES, SOURCE, SOURCE), st.builds(format_table, st.booleans(), rows(2) | rows(3))]
    if not item:
        kinds += [fill(["Run {}\n\n    {}\n    {}"], line(2), SOURCE, SOURCE)]
    if depth:
        tight = items("\n", st.just([]), items("\n", st.just([])).map(lambda inner: [inner]))
        kinds += [tight, items("\n\n", st.lists(block(depth - 1, True), max_size=2))]
        kinds += [body(depth - 1, item).map(lambda text: indent(text, "> "))]
        fence = "`" * (3 + depth)
        kinds += [fill([f"{fence}md\n{{}}\n{fence}"], body(depth - 1, item).map(with_references))]
    return st.one_of(kinds)


def body(depth: int, item: bool = False) -> st.SearchStrategy[str]:
    return st.lists(block(depth, item), min_size=1, max_size=3 + depth).map("\n\n".join)


def with_references(text: str) -> str:
    """Return the text with the definitions of its references."""
    return f"{text}\n\n{REFERENCES}" if "][" in text else text


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(line(2).map(with_references))
def test_speech_of_a_paragraph_has_the_words_that_the_parser_shows(text: str) -> None:
    assert_same_words(text)


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(body(2).map(with_references))
def test_speech_of_a_document_has_the_words_that_the_parser_shows(text: str) -> None:
    assert_same_words(text)


def test_the_adapted_parser_shows_the_expected_text() -> None:
    lists = "# A\n\n- [x] b&amp;\\*c <b>d</b><br>e\n\n3) ![f *g*](u)\n\n"
    codes = "```md\n<http://www.h.i/j_k>\n```\n\n    no\n"
    assert shown_text(lists + codes) == "A  b&*c d e 3 f g h.i"
