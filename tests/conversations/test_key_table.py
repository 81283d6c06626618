"""Workers share to which request each `Idempotency-Key` belongs."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
from pathlib import Path

import pytest

from tests.support.fake_agent import fake_agent
from tests.support.gateway import loop_time, make_config, send_turn
from voicegw.app.create import create_app
from voicegw.conversations import key_table
from voicegw.conversations.idempotency import IdempotencyKey, create_idempotency_key
from voicegw.conversations.key_table import CLAIM_SECONDS, KeyTable, open_key_table

NOW = 1000.0


def create_key(body: bytes = b"a", name: bytes = b"k") -> IdempotencyKey:
    return create_idempotency_key(name, "/v1/chat/completions", "", body)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys"


def test_a_key_belongs_to_one_request_of_a_tenant_in_all_workers(path: Path) -> None:
    one, two = KeyTable(path), KeyTable(path)
    assert one.claim("a", create_key(), NOW)
    assert [table.claim("a", create_key(), NOW + 1) for table in (one, two)] == [True, True]
    assert [table.claim("a", create_key(b"other"), NOW + 1) for table in (one, two)] == [False, False]
    assert two.claim("b", create_key(b"other"), NOW)
    assert two.claim("a", create_key(b"other", b"another key"), NOW)


def test_a_key_is_free_after_the_end_of_its_claim(path: Path) -> None:
    one, two = KeyTable(path), KeyTable(path)
    one.claim("a", create_key(), NOW)
    two.expire("a", create_key(b"other"), NOW)
    assert not two.claim("a", create_key(b"other"), NOW + CLAIM_SECONDS - 1), (
        "only the request ends its claim"
    )
    one.expire("a", create_key(), NOW + 10)
    assert not two.claim("a", create_key(b"other"), NOW + 9)
    assert two.claim("a", create_key(b"other"), NOW + 10)
    assert not one.claim("a", create_key(), NOW + 11)
    assert one.claim("a", create_key(), NOW + 10 + CLAIM_SECONDS), "its worker died"


def test_in_a_full_bucket_the_claim_that_ends_first_gives_way(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_table, "BUCKETS", 1)
    monkeypatch.setattr(key_table, "ENTRIES_PER_BUCKET", 4)
    table = KeyTable(path)
    for number in range(5):
        assert table.claim("a", create_key(name=b"%d" % number), NOW + number)
    assert [table.claim("a", create_key(b"other", b"%d" % number), NOW + 9) for number in (4, 3, 2, 0)] == [
        *(False, False, False, True)
    ]
    assert path.stat().st_size == 4 * key_table.ENTRY.size


def lock_for_ever(path: Path, is_locked: multiprocessing.Queue[None]) -> None:
    file = os.open(path, os.O_RDWR)
    fcntl.lockf(file, fcntl.LOCK_EX)
    is_locked.put(None)
    os.read(os.pipe()[0], 1)


def test_a_worker_that_keeps_its_lock_delays_nobody_and_its_death_frees_it(path: Path) -> None:
    table = KeyTable(path)
    table.claim("a", create_key(), NOW)
    context = multiprocessing.get_context("fork")
    is_locked: multiprocessing.Queue[None] = context.Queue()
    process = context.Process(target=lock_for_ever, args=(path, is_locked))
    process.start()
    try:
        is_locked.get(timeout=10)
        assert table.claim("a", create_key(b"other"), NOW), "granted without the table"
        table.expire("a", create_key(), NOW)
    finally:
        process.kill()
        process.join()
    assert not table.claim("a", create_key(b"other"), NOW)


def test_without_the_file_keys_are_not_shared(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert open_key_table(path / "missing" / "keys") is None
    assert "do not share their Idempotency-Keys" in caplog.text
    assert open_key_table(path) is not None


async def test_two_workers_refuse_another_body_or_endpoint_with_the_same_key(path: Path) -> None:
    config = make_config(turns={"replay_window": 10.0})
    one, two = (
        create_app(config, now=loop_time, agents=lambda *_: fake_agent("Hi", 5.0, "there"), key_table=path)
        for _ in range(2)
    )
    headers = {"idempotency-key": "k"}
    first = await send_turn(one, headers=headers, hang_up=1.0)
    assert first.status == 200
    for app in (one, two):
        other = await send_turn(app, {"user": "another"}, headers=headers)
        assert (other.status, other.error["code"]) == (422, "idempotency_key_reused")
        other = await send_turn(app, {"input": "Hello?"}, headers=headers, path="/v1/responses")
        assert other.status == 422
        assert other.error["param"] == "Idempotency-Key"
    assert (await send_turn(two, headers=headers)).status == 200, "the same request is answered anew"
