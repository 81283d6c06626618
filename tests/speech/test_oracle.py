"""The words of well-formed Markdown are those that a whole parser shows, in its order.

The parser is markdown-it-py, which reads the finished text. What we speak otherwise on purpose is taken out
of its tokens: code blocks and tags are silent, the numbers of steps are spoken, addresses are their domain.
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
STYLE = SpeechOptions(tables="cells", code="", nothing="")

# What the parser shows

ADDRESS = re.compile(r"(?:https?://(?:www\.)?|www\.)([\w.-]*\w)\S*")
BOX = re.compile(r"^\[[ x]\] ")


def inline(tokens: Iterable[Token]) -> str:
    """The text that is shown of a paragraph, a heading or a cell."""
    shown = ""
    for token in tokens:
        if token.type in ("text", "code_inline"):
            shown += token.content
        elif token.type == "image":
            shown += inline(token.children or ())
        elif token.type in ("softbreak", "hardbreak") or token.content == "<br>":
            shown += " "
    return shown


def blocks(text: str) -> str:
    """The text that is shown of a document."""
    shown = []
    for token in PARSER.parse(text):
        assert token.type != "html_block", "what is generated should be well-formed"
        if token.type == "list_item_open":
            shown.append(token.info)
        elif token.type == "inline":
            shown.append(ADDRESS.sub(r"\1", BOX.sub("", inline(token.children or ()))))
        elif token.type == "fence" and token.info in ("markdown", "md"):
            shown.append(blocks(token.content))
    return " ".join(shown)


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def assert_same_words(text: str) -> None:
    machine = SpeechFilter(STYLE)
    assert words(machine.feed(text) + machine.flush()) == words(blocks(text))


# Well-formed Markdown: what stands in a line

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


def either(*strings: list[str]) -> st.SearchStrategy[str]:
    return st.sampled_from([string for some in strings for string in some])


def filled(frames: list[str], *inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """One of the frames with these texts in its places."""
    return st.builds(str.format, st.sampled_from(frames), *inner)


@cache
def piece(depth: int, links: bool, breaks: bool, signs: str) -> st.SearchStrategy[str]:
    """A word, or something that is written in another way: emphasised by these signs, none in itself."""
    long = st.lists(PLAIN, min_size=3, max_size=20).map(" ".join)
    kinds = [PLAIN, PLAIN, PLAIN, long, either(CODES, ENTITIES, ESCAPES)]
    kinds += [filled(["{}{}"], PLAIN, either(SILENT))]
    if depth:
        others = {sign: line(depth - 1, links, breaks, signs.replace(sign, "")) for sign in signs}
        kinds += [filled(EMPHASIS[sign], inner) for sign, inner in others.items()]
        kinds += [filled(TAGS, line(depth - 1, links, breaks, signs))]
        kinds += [filled(INSIDE, either(["one", "二"]))] if "*" in signs else []
    if depth and links:
        text = line(depth - 1, False, breaks, signs).filter(re.compile(r"[^\W\d]").search)  # else a citation
        alt = line(0, False, breaks)
        kinds += [filled(["[{}]({})"], text, either(TARGETS)), filled(["![{}]({})"], alt, either(TARGETS))]
        kinds += [filled(["[{}][ref]", "[{}][The Other]"], text), filled(["at {}"], either(ADDRESSES))]
    return st.one_of(kinds)


@cache
def line(depth: int, links: bool = True, breaks: bool = True, signs: str = "*_~") -> st.SearchStrategy[str]:
    """Several pieces; with line breaks between them where these are allowed."""
    blank = either(BLANKS) if breaks else st.just(" ")
    next_piece = piece(depth, links, breaks, signs)
    more = st.lists(filled(["{}{}{}"], either(ENDS), blank, next_piece), max_size=2 + depth).map("".join)
    return st.builds("{}{}{}".format, next_piece, more, either(ENDS))


# Well-formed Markdown: blocks, each without its last line end

MARKERS = ["- ", "* ", "+ ", "- [ ] ", "- [x] ", "1. ", "2) ", "10. "]
TITLES = ["# {}", "### {}", "## {} ##", "{}\n===", "{}\n---"]
FENCES = ["```\n{}\n```", "```python\n{}\n```", "~~~ sh\n{}\n~~~", "```\n{}\n\n{}\n```"]
SOURCE = either(
    ["x = 1", "# no", "* no", "| a | b |", "<b>", "[no](no)", "> no", "    no", "`no`", "---", "~~"]
)
REFERENCES = "[ref]: https://example.com/of/ref\n[the other]: <https://example.com/other> 'A title'"


def indented(text: str, by: str) -> str:
    """The text with every line that much farther in; a blank one gets no blanks."""
    return "\n".join(by + row if row or not by.isspace() else "" for row in text.split("\n"))


def listed(marker: str, gap: str, items: list[list[str]]) -> str:
    """A list: what an item holds is as far in as its text; markers count up where they are numbers."""
    number = re.match(r"\d*", marker)[0]  # type: ignore[index]
    shown = []
    for place, parts in enumerate(items):
        own = f"{int(number) + place}{marker[len(number) :]}" if number else marker
        width = len(own.partition("[")[0])
        shown.append(own + indented(gap.join(parts), " " * width)[width:])
    return gap.join(shown)


def table(pipes: bool, rows: list[list[str]]) -> str:
    """A table; its first row is the header."""
    frame = "| {} |" if pipes else "{}"
    return "\n".join(frame.format(" | ".join(row)) for row in [rows[0], [":--"] * len(rows[0]), *rows[1:]])


def rows(columns: int) -> st.SearchStrategy[list[list[str]]]:
    """A table's rows. The first cell has a plain word, as a table without outer pipes needs it."""
    cell = line(1, breaks=False) | st.just("")
    row = st.tuples(PLAIN.filter(str.isalpha), *[cell] * (columns - 1)).map(list)
    return st.lists(row, min_size=1, max_size=4)


def items(gap: str, *parts: st.SearchStrategy[list[str]]) -> st.SearchStrategy[str]:
    """A list of items that are begun by a title and hold one of these."""
    item = st.builds(lambda title, parts: [title, *parts], line(1, breaks=False), st.one_of(parts))
    return st.builds(listed, st.sampled_from(MARKERS), st.just(gap), st.lists(item, min_size=1, max_size=3))


@cache
def block(depth: int, item: bool) -> st.SearchStrategy[str]:
    """A paragraph, or something that is set apart; in a list's item there is no indented code."""
    title = line(1, breaks=False)
    kinds = [line(2), line(2), filled(TITLES, title), st.sampled_from(["---", "***", "_ _ _"])]
    kinds += [filled(FENCES, SOURCE, SOURCE), st.builds(table, st.booleans(), rows(2) | rows(3))]
    if not item:
        kinds += [filled(["Run {}\n\n    {}\n    {}"], line(2), SOURCE, SOURCE)]
    if depth:
        tight = items("\n", st.just([]), items("\n", st.just([])).map(lambda inner: [inner]))
        kinds += [tight, items("\n\n", st.lists(block(depth - 1, True), max_size=2))]
        kinds += [body(depth - 1, item).map(lambda text: indented(text, "> "))]
        fence = "`" * (3 + depth)
        kinds += [filled([f"{fence}md\n{{}}\n{fence}"], body(depth - 1, item).map(referred))]
    return st.one_of(kinds)


def body(depth: int, item: bool = False) -> st.SearchStrategy[str]:
    return st.lists(block(depth, item), min_size=1, max_size=3 + depth).map("\n\n".join)


def referred(text: str) -> str:
    """The text with what its references need."""
    return f"{text}\n\n{REFERENCES}" if "][" in text else text


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(line(2).map(referred))
def test_a_paragraph_has_the_words_that_are_shown(text: str) -> None:
    assert_same_words(text)


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(body(2).map(referred))
def test_a_document_has_the_words_that_are_shown(text: str) -> None:
    assert_same_words(text)


def test_the_parser_shows_what_is_expected_of_it() -> None:
    lists = "# A\n\n- [x] b&amp;\\*c <b>d</b><br>e\n\n3) ![f *g*](u)\n\n"
    codes = "```md\n<http://www.h.i/j_k>\n```\n\n    no\n"
    assert blocks(lists + codes) == "A  b&*c d e 3 f g h.i"
