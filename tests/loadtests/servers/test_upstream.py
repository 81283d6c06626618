"""The upstream follows the plan of the model name, and counts every stream exactly once."""

from __future__ import annotations

import asyncio

import pytest

from loadtests.generate import closed_loop
from loadtests.servers.upstream import Upstream, UpstreamStats


class RecordingTransport(asyncio.Transport):
    """Keeps what is written, and when, on the loop's clock."""

    def __init__(self) -> None:
        self.written: list[tuple[float, bytes]] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append((asyncio.get_running_loop().time(), bytes(data)))

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    @property
    def tokens(self) -> int:
        return sum(data.count(b"tok") for _, data in self.written)

    @property
    def text(self) -> bytes:
        return b"".join(data for _, data in self.written)


async def run_stream(
    model: str, seconds: float = 3600.0
) -> tuple[RecordingTransport, UpstreamStats, Upstream]:
    """Send one request to an upstream with one connection, and wait `seconds` of virtual time."""
    stats, transport = UpstreamStats(), RecordingTransport()
    upstream = Upstream(stats)
    upstream.connection_made(transport)
    upstream.data_received(closed_loop.encode_request(0, model, ""))
    await asyncio.sleep(seconds)
    return transport, stats, upstream


async def test_tokens_are_sent_at_the_planned_times() -> None:
    transport, stats, _ = await run_stream("first=0.3,every=0.02,tokens=3")
    assert [at for at, _ in transport.written] == pytest.approx([0.0, 0.3, 0.32, 0.34])
    assert stats == UpstreamStats(begun=1, ended=1)


async def test_random_waits_repeat_with_their_seed() -> None:
    model = "first=lognormal:0.3:0.5,every=exponential:0.02,tokens=20,seed=4"
    one, other = (await run_stream(model))[0], (await run_stream(model))[0]
    gaps = [[at - transport.written[0][0] for at, _ in transport.written] for transport in (one, other)]
    assert gaps[0] == pytest.approx(gaps[1])
    assert len({round(b - a, 4) for a, b in zip(gaps[0], gaps[0][1:], strict=False)}) > 15


FAULTS = {
    "refuse": (0, UpstreamStats(begun=1, failed=1)),
    "silent": (0, UpstreamStats(begun=1, active=1)),
    "slow": (10, UpstreamStats(begun=1, ended=1)),
    "stall": (6, UpstreamStats(begun=1, active=1)),
    "garble": (10, UpstreamStats(begun=1, ended=1)),
    "cut": (6, UpstreamStats(begun=1, failed=1)),
}


@pytest.mark.parametrize("every", ["0.02", "0"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_happens_as_planned_and_is_counted(fault: str, every: str) -> None:
    tokens, counted = FAULTS[fault]
    transport, stats, upstream = await run_stream(f"first=0.1,every={every},tokens=10,fault={fault}")
    assert (transport.tokens, stats) == (tokens, counted)
    assert transport.text.startswith(b"HTTP/1.1 503") == (fault == "refuse")
    assert (b"[DONE]" in transport.text) == (fault in ("slow", "garble"))
    assert transport.closed == (fault == "cut")
    assert (stats.connections, stats.active) == (1, int(fault in ("silent", "stall")))
    upstream.connection_lost(None)
    assert stats.begun == stats.ended + stats.left + stats.failed
    assert stats.connections == 0


async def test_a_connection_takes_the_next_stream_after_a_refusal() -> None:
    transport, stats, upstream = await run_stream("fault=refuse")
    upstream.data_received(closed_loop.encode_request(0, "quick", ""))
    assert (transport.tokens, stats) == (20, UpstreamStats(begun=2, ended=1, failed=1))
