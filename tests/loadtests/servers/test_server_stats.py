"""The state of a server has what is there, and None for what is not known."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from loadtests.generate.target import Target
from loadtests.servers.launch import count_open_files
from loadtests.servers.server_stats import (
    ServerState,
    fetch_stats,
    get,
    parse_gauge,
    read_state,
    take_sample,
)
from loadtests.servers.upstream import UpstreamStats, json_response
from tests.loadtests.upstreams import run_upstream

METRICS = b"""\
# TYPE voicegw_turns_running gauge
voicegw_turns_running 3.0
# TYPE voicegw_calls_open gauge
voicegw_calls_open{platform="twilio"} 1.0
voicegw_calls_open{platform="retell"} 2.0
# TYPE voicegw_refusals counter
"""


async def serve(text: bytes) -> asyncio.Server:
    """Start a server that answers every request with this text."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(text)
        writer.close()
        await writer.wait_closed()

    return await asyncio.start_server(answer, "127.0.0.1", 0)


def metrics(text: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text)


def test_gauges_are_summed_and_one_without_samples_is_zero() -> None:
    text = METRICS.decode()
    assert parse_gauge(text, "voicegw_turns_running") == 3
    assert parse_gauge(text, "voicegw_calls_open") == 3
    assert parse_gauge(text, "voicegw_refusals") == 0
    assert parse_gauge(text, "voicegw_turns") is None


@pytest.mark.wire
async def test_the_connection_of_the_query_is_not_counted() -> None:
    async with run_upstream() as (target, _):
        assert await get(target, "/elsewhere") == b""
        assert (await fetch_stats(target)).connections == 0
        assert await read_state(target, target, None) == ServerState(active=0, connections=0)


@pytest.mark.wire
async def test_an_incomplete_answer_is_an_error() -> None:
    async with await serve(json_response("200 OK", UpstreamStats.__slots__)[:-1]) as server:
        with pytest.raises(ConnectionResetError):
            await get(Target("", server.sockets[0].getsockname()[1]), "/stats")


def test_an_ended_process_holds_nothing(tmp_path: Path) -> None:
    ended_pid = 2**22 + 1
    assert (count_open_files(ended_pid), take_sample(ended_pid, 1.0, 2).rss) == (0, 0)
    before = count_open_files(os.getpid())
    assert before is not None
    with (tmp_path / "one").open("w"):
        assert count_open_files(os.getpid()) == before + 1
