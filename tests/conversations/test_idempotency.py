"""A repeated `Idempotency-Key` finds the run of its request, and no other request does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest

from tests.support.fake_agent import fake_agent
from voicegw.conversations.idempotency import RUN_BYTES, IdempotencyKey, IdempotentRuns
from voicegw.errors import UnprocessableContent
from voicegw.events import Message, Turn
from voicegw.turns.run import Run


def create_run(tenant: str = "a") -> Run:
    turn = Turn("t", (Message("user", "Hello?"),), tenant=tenant)
    return Run(fake_agent("Hi"), turn, lambda run: None, now=asyncio.get_event_loop().time)


def create_key(key: bytes = b"k", digest: bytes = b"1", byte_count: int = 10) -> IdempotencyKey:
    return IdempotencyKey(key, digest, byte_count)


def keys_found(runs: IdempotentRuns, keys: Iterable[bytes]) -> list[bytes]:
    return [key for key in keys if runs.find("a", create_key(key)) is not None]


async def test_a_key_belongs_to_one_tenant_and_one_request() -> None:
    runs, run = IdempotentRuns(), create_run()
    assert runs.find("a", create_key()) is None
    runs.add("a", create_key(), run)
    assert runs.find("a", create_key()) is run
    assert runs.find("b", create_key(digest=b"2")) is None
    with pytest.raises(UnprocessableContent) as refused:
        runs.find("a", create_key(digest=b"2"))
    assert (refused.value.status, refused.value.param) == (422, "Idempotency-Key")


async def test_a_removed_run_takes_its_own_keys_along() -> None:
    runs, first, second = IdempotentRuns(), create_run(), create_run()
    for key, run in ((b"k", first), (b"l", first), (b"m", second), (b"l", second)):
        runs.add("a", create_key(key), run)
    runs.remove(first)
    assert keys_found(runs, [b"k", b"l", b"m"]) == [b"l", b"m"]
    runs.remove(second)
    assert (len(runs), runs.total_bytes) == (0, 0)


async def test_above_the_limit_the_oldest_requests_are_forgotten() -> None:
    runs = IdempotentRuns(max_bytes=2 * RUN_BYTES + 25)
    for key in (b"k", b"l", b"m"):
        runs.add("a", create_key(key), create_run())
    assert keys_found(runs, [b"k", b"l", b"m"]) == [b"l", b"m"]
    runs.add("a", create_key(b"n", byte_count=2 * RUN_BYTES), create_run())
    assert (len(runs), runs.total_bytes) == (0, 0)
