"""Texts full of markup, broken markup and odd characters, cuts of them, and their speech."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from hypothesis import strategies as st

from voicegw.speech.filter import SpeechFilter
from voicegw.speech.options import SpeechOptions

MARKS = [
    "**", "*", "_", "__", "***", "`", "``", "```", "~~", "~~~", "==", "[", "](", "]", ")", "(", "![", "][",
    "[1]", "[^n]", "[^n]:", "[x]:", "【1†a】", "<", ">", "<b>", "</b>", "<br>", "<p>", "<li>", "<!--", "-->",
    "<think>", "</think>", "[THINK]", "[/THINK]", "◁think▷", "◁/think▷", "<script>", "</script>", "<note>",
    "</note>", "&amp;", "&#39;", "&nbsp;", "&lt;", "&", ";", "|", "$", "$$", "\\(", "\\)", "\\[",
    "\\]", "\\",
    "<sup>2</sup>", "<sub>", "<del>", "</del>", "<s>", "<tool_call>", "<function=x>", "</function>",
    "<branch>",
    "<String>", "<details type='r'>", "<unused94>", "<|im_start|>", "<|channel|>analysis", "<|end|>",
    "<|python_tag|>",
    "<|tool_call_begin|>", "<|tool_call_end|>", "[TOOL_CALLS]", "[/INST]", "([1]", "[citation:3]",
    "[oaicite:0]",
    "{index=0}", ":contentReference", " :c", "^", "^{-3}", "\\n", "C:", "\\\\s", "\\a.b", "~/", "/c/d",
    "**7@", "(***)", "** ***", "was ",  "\\sqrt{", "\\sqrt[3]", "_1", "*67",
    "*21*3#", "**1", "/a",
    "/usr/lib/x/y.z", "\x1b[31m", "\x1b]0;", "\x07", "\x1b\\", "assistant", "Assistant:", "AI",
    "\\*", "\\frac{a}{b}", "^2", "http://", "https://www.", "www.", "a.b/c", "?c=d", "ada@example.com", "→",
]  # fmt: skip
LINES = [
    "\n", "\n\n", "\n    ", "\r\n", "\r", "- ", "+ ", "• ", "1. ", "2) ", "# ", "## ", "> ", "---", "===",
    "- [ ] ", "- [x] ", "+ 19 %", "- 10 %", "> 30", ">= 1", "##A", "+--", "+---+\n", "{\"a\":", "}",
    "@@ -1", "diff --git ",
    "\n at f(", "\n File \"a\", line 1", "2026-11-30 10:00:00 INFO ", "[1] ", "```\n", "```md\n",
    "~~~\n", "|---|---|\n", "| a | b |\n", " | ",
]  # fmt: skip
SIGNS = [
    "😀", "👍🏽", "👨‍👩‍👧", "🇩🇪", "❤️", "☎", "─", "│", "✅", "❌", "☑", "⭐", "★★", "☆", "↑", "▲", "➡",
    "\u200d", "\u200c", "\ufe0f", "\u200b", "\u2060", "\ufeff",
    "\u200f", "\u202e", "\x00", "\x1b", "\x7f", "\x85", "\u2028", "\xa0", "\u3000", "\ud83d", "\ude00",
    "\udfff", "\ud840", "\udc00",
]  # fmt: skip
WORDS = [
    "word", "a", "Ada", "http", "snake_case", "don't", "C#", "API", "naïve", "e\u0301", "你好", "。", "世界",
    "مرحبا", "می\u200cخواهم", "नमस्ते", "क्\u200dष", "।", "สวัสดี", "1", "36", "2024.", "$5", "50%",
    "10:30",
    ".", ",", ":", "!", "?", "…", "–", '"', "'", "/", " ", "  ", "\t",
]  # fmt: skip
FORMS = [
    "5", "1", "21", "007", "2026", "1,234", "1.234", "1 234", "1,5", "1.5", "12345", "3.", "0", " ", " ",
    " ", ", ", ". ", "\n", "-", "–", "+", "(", ")", "/", ":", ".", ",", "$", "€", "US$", "EUR", "zł",
    " million", " Mio.", "%", " km", "km/h", " m²", "°C", " kg", "15:30", "3:30", " pm", "pm", " a.m.",
    " Uhr", "15h30", " h ", "2026-11-30", "05/12/2026", "30.11.2026", " May", "May ", " Mai", " mai",
    "st", "nd", "e", "º", "-й", "+49 30 1234567", "(555) 010-9999", "der ", "am ", "code ", "Main ",
    "Street", " rue", "COVID", "word", "A", "E", "#", "年", "元", "第", "你好", "٥", "५", " ",
]  # fmt: skip
"""Written forms, and parts of them."""
TEXTS = st.lists(st.sampled_from(MARKS + LINES + SIGNS + WORDS) | st.sampled_from(WORDS), max_size=40).map(
    "".join
)
NAMES = st.frozensets(st.sampled_from(["note", "b", "break"]), max_size=2)
REPLACED = {"api": "A P I", "Ada": "Aida", "C#": "C sharp", "a": "ay"}
OPTIONS = st.builds(
    SpeechOptions,
    max_held_chars=st.integers(8, 64) | st.just(8),
    tables=st.sampled_from(["headers", "cells"]),
    urls=st.sampled_from(["domain", "drop"]),
    code=st.sampled_from(["", "Code."]),
    keep_tags=NAMES,
    silent_tags=NAMES,
    words=st.sampled_from([{}, REPLACED]),
)
CUTS = st.lists(st.integers(0, 200), max_size=12)


def speak(pieces: Iterable[str], options: SpeechOptions | None = None) -> str:
    """Return the speech of a text that comes in these deltas."""
    speech_filter = SpeechFilter(options or SpeechOptions())
    return "".join([*map(speech_filter.feed, pieces), speech_filter.flush()])


def cut_text(text: str, cuts: Iterable[int]) -> list[str]:
    """Return the text cut at these indices; a piece is empty where an index occurs twice."""
    places = [0, *sorted(min(place, len(text)) for place in cuts), len(text)]
    return [text[start:end] for start, end in pairwise(places)]
