"""The cost of making text speakable: CPU microseconds per delta, and its growth with the text.

    python -m loadtests.micro.speech [--rounds 5] [--chars 100000] [--large 1048576] [--json speech.json]

Everything runs in this process. "untouched" is a method that returns its argument, called in the same way;
"spelled" turns written forms into words, and "markdown-it" is a parser that reads and renders the complete
text at once. They alternate in every round, ratios are formed within a round, and medians are shown, for only
these are comparable on a shared machine.
The second table feeds markup that never closes: if the cost is linear, the large input takes as many times
longer than the small one as it is longer. Ctrl-C prints what was measured so far.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias, get_args

import orjson
from markdown_it import MarkdownIt

from loadtests.report.comparison import format_number
from voicegw.speech.filter import SpeechFilter
from voicegw.speech.options import SpeechOptions, Spelling

DELTA_CHARS = 5
"""Characters per delta."""

Row: TypeAlias = dict[str, Any]

ENGLISH = (
    "Of course, I can help you with that. Your table is booked for half past seven on Friday, and it is by "
    "the window, as you wished. If you'd like to bring one more guest, please call us before noon; after "
    "that, the kitchen has already bought what it needs. Is there anything else that I can do for you today? "
)
CHINESE = (
    "当然可以。您的座位已经订好了，星期五晚上七点半，靠窗的位置。如果您还想多带一位客人，请在中午之前给我们打电话；"
    "过了中午，厨房就已经买好了菜。今天还有什么可以帮您的吗？"
)
MARKDOWN = """\
<think>The caller wants a comparison. **Keep it short.**</think>
# Your options 🚀

Here is what I found[1], *sorted* by price; **all three** are open — see [our site](https://www.example.com/a?b=c).

| Plan | Price | Minutes |
|:-----|------:|--------:|
| **Basic** | $5 | 100 |
| *Plus* | $10 | 500 |
| Pro &amp; Co | $25 | unlimited 🎉 |

1. **Choose a plan**: type `plan choose NAME` and wait.
2. Confirm it by mail, to <billing@example.com> [2, 3].
   - Please don't forget your *customer number*.
   - [ ] Tell us if you are ~~moving~~ staying.

> "It just works", says snake_case_fan 👍

```python
def choose(name: str) -> None:
    print(f"**{name}**")  # not spoken
```

---

The yearly price is $12 \\times 5$, so \\(x^2\\) is no concern<br>of
yours.
Read https://docs.example.com/plans/2024 【4:0†plans.pdf】.

"""
TEXTS = {"English": ENGLISH, "Chinese": CHINESE, "words": "word ", "Markdown": MARKDOWN}

UNCLOSED_MARKUP = ["[", "*", "<", "> ", "`", "|", "$", "\\", "<think", "&amp", "![", "](", "- ", "\n"]
"""Each is repeated until the input has the required length."""


class Passthrough:
    """Returns its input: the cost of the calls alone."""

    def feed(self, text: str) -> str:
        return text

    def flush(self) -> str:
        return ""


def filter_deltas(speech: SpeechFilter | Passthrough, deltas: Iterable[str]) -> str:
    """Filter a whole answer, delta by delta, as a run does."""
    feed = speech.feed
    spoken = [feed(delta) for delta in deltas]
    spoken.append(speech.flush())
    return "".join(spoken)


def render(deltas: Iterable[str]) -> str:
    return str(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render("".join(deltas)))


SPELLED = SpeechOptions(spell=frozenset(get_args(Spelling)))
"""The options with which all written forms become words; the texts are spelled in English."""
Method: TypeAlias = Callable[[Sequence[str]], str]
METHODS: dict[str, Method] = {
    "untouched": lambda deltas: filter_deltas(Passthrough(), deltas),
    "voicegw": lambda deltas: filter_deltas(SpeechFilter(), deltas),
    "voicegw, spelled": lambda deltas: filter_deltas(SpeechFilter(SPELLED), deltas),
    "markdown-it": render,
}


def repeat_to_length(unit: str, chars: int) -> str:
    """Return `chars` characters."""
    return (unit * (chars // len(unit) + 1))[:chars]


def split_deltas(text: str) -> list[str]:
    return [text[start : start + DELTA_CHARS] for start in range(0, len(text), DELTA_CHARS)]


def cpu_seconds(method: Method, deltas: Sequence[str]) -> float:
    """Return the CPU time of one answer."""
    gc.collect()
    before = time.process_time()
    method(deltas)
    return time.process_time() - before


def measure_costs(name: str, chars: int, turn: int) -> Iterator[Row]:
    """Measure one text by every method in turn: microseconds per delta, characters per second, ratios."""
    deltas = split_deltas(repeat_to_length(TEXTS[name], chars))
    names = list(METHODS)[turn % len(METHODS) :] + list(METHODS)[: turn % len(METHODS)]
    seconds = {way: cpu_seconds(METHODS[way], deltas) or sys.float_info.min for way in names}
    for method in METHODS:
        row: Row = {"text": name, "way": method, "us": seconds[method] / len(deltas) * 1e6}
        row |= {"per_second": chars / seconds[method]}
        yield row | {
            f"per_{other}": seconds[method] / seconds[other] for other in ("untouched", "markdown-it")
        }


def measure_growth(unit: str, small: int, large: int) -> Row:
    """Return how many times longer the large input takes than the small one, at once and in deltas."""
    row: Row = {"unit": unit}
    for name, pieces in (("whole", lambda text: [text]), ("deltas", split_deltas)):
        short, long = pieces(repeat_to_length(unit, small)), pieces(repeat_to_length(unit, large))
        seconds = cpu_seconds(METHODS["voicegw"], short), cpu_seconds(METHODS["voicegw"], long)
        row |= {
            f"{name}_ns": seconds[1] / large * 1e9,
            f"{name}_growth": seconds[1] / (seconds[0] or sys.float_info.min),
        }
    return row


def run_rounds(args: argparse.Namespace) -> Iterator[Row]:
    """Yield the figures of every round."""
    for turn in range(args.rounds):
        for name in TEXTS:
            yield from ({"round": turn, **row} for row in measure_costs(name, args.chars, turn))
        for unit in UNCLOSED_MARKUP:
            yield {"round": turn, **measure_growth(unit, args.small, args.large)}


def summarise_rounds(rows: Iterable[Row]) -> list[Row]:
    """Return the median of every figure per text and method, or per unit."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in ("text", "way", "unit") if key in row), []).append(row)
    return [
        {name: median_or_name([row[name] for row in group]) for name in group[0]} for group in groups.values()
    ]


def median_or_name(values: Sequence[Any]) -> Any:
    return values[0] if isinstance(values[0], str) else median(values)


def align(lines: Iterable[Sequence[str]]) -> str:
    table = list(lines)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in table)


def format_tables(lines: Sequence[Row], times: float) -> str:
    """Return both tables as text."""
    costs = [["text", "by", "us/delta", "chars/s", "x untouched", "x markdown-it"]]
    growths = [["input", "ns/char whole", f"growth (linear: {times:.0f})", "ns/char in deltas", "growth"]]
    for row in lines:
        if "text" in row:
            figures = [row[name] for name in ("us", "per_second", "per_untouched", "per_markdown-it")]
            costs.append([row["text"], row["way"], *map(format_number, figures)])
        else:
            figures = [row[name] for name in ("whole_ns", "whole_growth", "deltas_ns", "deltas_growth")]
            growths.append([repr(row["unit"]), *map(format_number, figures)])
    return f"{align(costs)}\n\n{align(growths)}\n"


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="rounds; figures are medians over them")
    parser.add_argument("--chars", type=int, default=100_000, help="characters of each text")
    parser.add_argument(
        "--small", type=int, default=1 << 16, help="characters of a small input of unclosed markup"
    )
    parser.add_argument(
        "--large", type=int, default=1 << 20, help="characters of a large input of unclosed markup"
    )
    parser.add_argument("--json", type=Path, help="write every round and the medians to this file")
    return parser.parse_args()


def main() -> int:
    args = parse_options()
    rows: list[Row] = []
    stopped = False
    try:
        rows += run_rounds(args)  # row by row, so that Ctrl-C keeps the rows before it
    except KeyboardInterrupt:
        stopped = True
    tables = format_tables(summarise_rounds(rows), args.large / args.small)
    print(tables + ("\nStopped early.\n" if stopped else ""), end="")
    if args.json:
        host = {"cores": os.cpu_count(), "kernel": os.uname().release}
        result = {"host": host, "summary": summarise_rounds(rows), "rows": rows}
        args.json.write_bytes(orjson.dumps(result, option=orjson.OPT_INDENT_2))
    return 130 if stopped else 0


if __name__ == "__main__":
    sys.exit(main())
