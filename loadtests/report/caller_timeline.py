"""Measure one turn with and without the gateway's own phrases, and draw what the caller hears on a time axis.

    python -m loadtests.report.caller_timeline [--out docs/pictures/caller-timeline.svg]

One gateway serves the same agent twice, a script that works for six seconds before its first word: once with
acknowledgement and progress phrases, once without. Speech is drawn at 15 characters per second.
"""

from __future__ import annotations

import argparse
import http.client
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import orjson

from loadtests.servers.launch import free_port, run_server

ROOT = Path(__file__).parents[2]
CHARS_PER_SECOND = 15.0
ANSWER = "Your order has left our warehouse. It arrives on Thursday."
CONFIG = f"""\
[agents.with]
kind = "scripted"
script = "work"
options = {{ quiet = 6.0, say = "{ANSWER}" }}
ack = {{ after = 0, every = 3.0 }}
[agents.without]
kind = "scripted"
script = "work"
options = {{ quiet = 6.0, say = "{ANSWER}" }}
ack = {{ after = "off", every = "off" }}
"""
BODY = {"stream": True, "messages": [{"role": "user", "content": "Where is my order?"}]}
WIDTH, LEFT, RIGHT, SECONDS = 860, 150, 20, 12.0


@dataclass
class Utterance:
    """Words that arrived without a pause, with the second after the request at which the first one came."""

    at: float
    text: str

    @property
    def seconds(self) -> float:
        return len(self.text.strip()) / CHARS_PER_SECOND


def ask(port: int, model: str) -> list[Utterance]:
    """Send one request, and return the utterances of its stream."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    started = time.monotonic()
    connection.request("POST", "/v1/chat/completions", orjson.dumps({**BODY, "model": model}))
    heard: list[Utterance] = []
    last = 0.0
    for line in connection.getresponse():
        if not line.startswith(b"data: {"):
            continue
        content = orjson.loads(line[6:])["choices"][0]["delta"].get("content")
        now = time.monotonic() - started
        if content and heard and now - last < 1.0:
            heard[-1].text += content
        elif content:
            heard.append(Utterance(now, content))
        last = now
    connection.close()
    return heard


def x(seconds: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * seconds / SECONDS


def draw_lane(y: int, title: str, note: str, heard: list[Utterance]) -> str:
    """Return one lane: a bar for each utterance, silence between them."""
    bars = [
        f'<text class="name" x="10" y="{y + 20}">{title}</text>',
        f'<text class="note" x="10" y="{y + 38}">{note}</text>',
        f'<rect class="silence" x="{x(0)}" y="{y}" width="{x(SECONDS) - x(0):.0f}" height="44" rx="4"/>',
    ]
    for utterance in heard:
        kind = "agent" if utterance.text.strip() == ANSWER else "own"
        end = min(utterance.at + utterance.seconds, SECONDS)
        bars.append(
            f'<rect class="{kind}" x="{x(utterance.at):.1f}" y="{y}" width="{x(end) - x(utterance.at):.1f}" '
            f'height="44" rx="4"/><text class="at" x="{x(utterance.at):.1f}" y="{y + 60}">'
            f"{utterance.at:.3f} s</text>"
        )
    return "".join(bars)


def draw(with_phrases: list[Utterance], without: list[Utterance]) -> str:
    """Return the picture as an SVG document that is readable on light and dark pages."""
    ticks = "".join(
        f'<path class="tick" d="M{x(s):.1f} 26V202"/><text class="note" x="{x(s):.1f}" y="18" '
        f'text-anchor="middle">{s} s</text>'
        for s in range(0, int(SECONDS) + 1, 2)
    )
    legend = (
        f'<rect class="own" x="{LEFT}" y="218" width="14" height="14" rx="3"/>'
        f'<text class="note" x="{LEFT + 20}" y="230">'
        f"the gateway: “{with_phrases[0].text.strip()}” and progress</text>"
        f'<rect class="agent" x="{LEFT + 300}" y="218" width="14" height="14" rx="3"/>'
        f'<text class="note" x="{LEFT + 320}" y="230">the agent’s answer</text>'
        f'<rect class="silence" x="{LEFT + 470}" y="218" width="14" height="14" rx="3"/>'
        f'<text class="note" x="{LEFT + 490}" y="230">silence</text>'
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} 240" role="img" aria-labelledby="t" '
        "font-family=\"system-ui, -apple-system, 'Segoe UI', sans-serif\">"
        f'<title id="t">First words after {without[0].at:.1f} s without voicegw, after '
        f"{with_phrases[0].at * 1000:.0f} ms with it</title><style>"
        "text{fill:#1f2328;font-size:15px}.name{font-weight:600}.note,.at{fill:#59636e;font-size:12px}"
        ".tick{stroke:#d1d9e0}.silence{fill:#eaeef2}.own{fill:#0969da}.agent{fill:#1a7f37}"
        "@media (prefers-color-scheme:dark){text{fill:#e6edf3}.note,.at{fill:#9198a1}.tick{stroke:#30363d}"
        ".silence{fill:#21262d}.own{fill:#58a6ff}.agent{fill:#3fb950}}</style>"
        f"{ticks}{draw_lane(40, 'without', 'the agent alone', without)}"
        f"{draw_lane(130, 'with voicegw', 'the same agent', with_phrases)}{legend}</svg>\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser("loadtests.report.caller_timeline", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "pictures" / "caller-timeline.svg")
    options = parser.parse_args()
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "voicegw.toml")
        config.write_text(CONFIG)
        argv = [sys.executable, "-m", "voicegw", "serve", "--config", str(config), "--port", str(port)]
        with run_server(argv, port, os.sched_getaffinity(0), Path(folder, "log"), dict(os.environ)):
            ask(port, "with")  # the first turn of a process warms its imports
            found = {model: ask(port, model) for model in ("without", "with")}
    for model, heard in found.items():
        print(model, [(round(utterance.at, 4), utterance.text.strip()) for utterance in heard])
    options.out.write_text(draw(found["with"], found["without"]), "utf-8")


if __name__ == "__main__":
    main()
