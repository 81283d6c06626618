"""Callers for locust: each asks, listens to the whole streamed answer, thinks, and asks again.

    locust -f loadtests/locustfile.py --headless -u 10 -r 10 -t 20s --host http://127.0.0.1:8080

Four times per turn, each an entry of its own in locust's statistics: "first chunk", "ack-TTFT" (the first
words of any kind), "answer-TTFT" (the first that hold `--answer-marker`, which no acknowledgement may
contain) and "turn" (all of it). The default marker is that of `loadtests.upstream`.

Locust makes sockets co-operative, so the plain `http.client` is enough; it hands out a line of the
stream when it arrives, and nothing between the socket and the clock collects or waits.
"""

from __future__ import annotations

import json
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from urllib.parse import urlsplit

from locust import User, between, events, task

from loadtests.upstream import MARK

SILENCE = 60.0
"""Seconds without a byte after which a turn has failed."""


class TurnFailed(Exception):
    """The turn brought no whole answer; the message says what it brought."""


def options(parser: ArgumentParser) -> None:
    parser.add_argument("--key", default="none", help="sent as the bearer token")
    parser.add_argument("--model", default="voice", help="the model to ask for")
    parser.add_argument("--said", default="Do you have a room for two?", help="what the caller says")
    parser.add_argument("--answer-marker", default=MARK, help="text that only the agent's answer contains")


events.init_command_line_parser.add_listener(options)  # type: ignore[no-untyped-call]


def contents(lines: Iterable[bytes]) -> Iterator[str]:
    """The words of every chunk, "" for a chunk without any, up to the end of the stream.

    Raises TurnFailed when the stream stops before its end.
    """
    for line in lines:
        if not line.startswith(b"data:"):
            continue
        data = line[5:].strip()
        if data == b"[DONE]":
            return
        choices = json.loads(data).get("choices") or [{}]
        yield (choices[0].get("delta") or {}).get("content") or ""
    raise TurnFailed("the stream ended without [DONE]")


def listen(lines: Iterable[bytes], marker: str, mark: Callable[[str], None]) -> int:
    """Follow an answer to its end and mark what begins in it; returns how many characters it had.

    Raises TurnFailed when the marker was not among them.
    """
    text = ""
    seen = set[str]()
    for words in contents(lines):
        text += words
        begun = {"first chunk": True, "ack-TTFT": text != "", "answer-TTFT": marker in text}
        for name, so in begun.items():
            if so and name not in seen:
                seen.add(name)
                mark(name)
    if marker not in text:
        raise TurnFailed(f"no {marker!r} in the answer")
    return len(text)


class StreamingCaller(User):
    """A caller with one connection, kept open between turns."""

    wait_time = between(1, 2)

    def on_start(self) -> None:
        url = urlsplit(self.host or "http://127.0.0.1:8080")
        connect = HTTPSConnection if url.scheme == "https" else HTTPConnection
        self.connection = connect(url.netloc, timeout=SILENCE)
        self.path = f"{url.path.rstrip('/')}/v1/chat/completions"

    def on_stop(self) -> None:
        self.connection.close()

    def ask(self) -> HTTPResponse:
        asked = self.environment.parsed_options
        message = {"role": "user", "content": asked.said}
        body = json.dumps({"model": asked.model, "messages": [message], "stream": True})
        headers = {"authorization": f"Bearer {asked.key}", "content-type": "application/json"}
        self.connection.request("POST", self.path, body, headers)
        return self.connection.getresponse()

    @task
    def turn(self) -> None:
        begun = time.perf_counter()

        def mark(name: str, length: int = 0, error: Exception | None = None) -> None:
            self.environment.events.request.fire(
                request_type="SSE",
                name=name,
                response_time=(time.perf_counter() - begun) * 1e3,
                response_length=length,
                exception=error,
                context={},
            )

        try:
            with closing(self.ask()) as response:
                if response.status != 200:
                    raise TurnFailed(
                        f"status {response.status}: {response.read(200).decode(errors='replace')}"
                    )
                length = listen(response, self.environment.parsed_options.answer_marker, mark)
                response.read()  # the end of the body, or the connection could not be used again
        except (OSError, HTTPException, ValueError, TurnFailed) as error:
            self.connection.close()
            mark("turn", error=error)
        else:
            mark("turn", length)
