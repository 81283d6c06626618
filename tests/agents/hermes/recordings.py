"""Recordings of Hermes 0.19 on the wire: each line begins with the seconds since the request."""

from __future__ import annotations

from pathlib import Path

from voicegw.events import Activity, Event, Usage

FOLDER = Path(__file__).parent / "fixtures"
WORDS = ["Let ", "me ", "check. ", *(f"word{i} " for i in range(20))]
WORDS[3] = "\n\n" + WORDS[3]
EVENTS: list[Event] = [*WORDS[:3], Activity("sleep 1 + 1 command"), *WORDS[3:], Usage(22, 14)]
"""The events of both recordings: some text, a tool, more text, and the usage."""


def read_recording(name: str) -> bytes:
    """Return the body of an answer, `run` or `chat`."""
    lines = (FOLDER / f"hermes_{name}.tsv").read_text("utf-8").splitlines()
    return "".join(line.partition("\t")[2] + "\n" for line in lines).encode()
