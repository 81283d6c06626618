"""A look tells what is there, and nothing of what is not told."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from loadtests.generate.target import Target
from loadtests.servers.server_stats import ServerState, files, parse_gauge, get, read_state, take_sample, fetch_stats
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
    """A server that answers every request with this, as it is."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(text)
        writer.close()
        await writer.wait_closed()

    return await asyncio.start_server(talk, "127.0.0.1", 0)


def metrics(text: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text)


def test_gauges_are_summed_and_one_without_samples_is_zero() -> None:
    said = METRICS.decode()
    assert parse_gauge(said, "voicegw_turns_running") == 3
    assert parse_gauge(said, "voicegw_calls_open") == 3
    assert parse_gauge(said, "voicegw_refusals") == 0
    assert parse_gauge(said, "voicegw_turns") is None


@pytest.mark.wire
async def test_the_one_who_asks_is_no_connection_of_the_gateways() -> None:
    async with run_upstream() as (door, _):
        assert await get(door, "/elsewhere") == b""
        assert (await fetch_stats(door)).connections == 0
        assert await read_state(door, door, None) == ServerState(active=0, connections=0)


@pytest.mark.wire
async def test_an_answer_that_is_cut_is_an_error() -> None:
    async with await serve(json_response("200 OK", UpstreamStats.__slots__)[:-1]) as server:
        with pytest.raises(ConnectionResetError):
            await get(Target("", server.sockets[0].getsockname()[1]), "/stats")


def test_a_process_that_is_gone_holds_nothing(tmp_path: Path) -> None:
    gone = 2**22 + 1
    assert (files(gone), take_sample(gone, 1.0, 2).rss) == (0, 0)
    before = files(os.getpid())
    with (tmp_path / "one").open("w"):
        assert files(os.getpid()) == before + 1
