"""The table in which the workers of one gateway share to which request each `Idempotency-Key` belongs.

It is a file that every worker maps into its memory: a hash table of fixed size with a digest of each key, a
digest of its request, and the time until which they belong together. It holds no answers: a repeated request
that reaches another worker is answered anew. A claim takes some microseconds and never waits: if another
worker does not release its lock at once, the claim counts as granted.
"""

from __future__ import annotations

import fcntl
import logging
import mmap
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path

from voicegw.conversations.idempotency import IdempotencyKey

log = logging.getLogger("voicegw.error")

ENTRY = struct.Struct("=16s16sd")
"""Digests of tenant and key, and of the request; a time in seconds of the system's monotonic clock."""
EXPIRY = struct.Struct("=d")
"""The last field of an entry. An entry whose time has passed is free."""
EXPIRY_OFFSET = ENTRY.size - EXPIRY.size
ENTRIES_PER_BUCKET = 16
BUCKETS = 4096
"""The table has room for 65 536 keys in 2.6 MB. In a full bucket, the entry that ends first gives way."""
CLAIM_SECONDS = 3600.0
"""Seconds for which a key belongs to a request whose end no worker tells, because it died."""
LOCK_ATTEMPTS = 100
"""Attempts to lock a bucket, a microsecond each. Another worker holds a lock for some microseconds."""


class KeyTable:
    """The shared table, in the file at `path`; the first worker creates it.

    Raises `OSError` if the file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        size = BUCKETS * ENTRIES_PER_BUCKET * ENTRY.size
        os.ftruncate(self._file, size)  # keeps what other workers wrote: the size is always the same
        self._table = mmap.mmap(self._file, size)

    def claim(self, tenant: str, key: IdempotencyKey, now: float) -> bool:
        """Note that the key belongs to this request, until `expire`. Return False if it is another's."""
        name = _name(tenant, key)
        with self._lock(name) as bucket:
            if bucket is None:
                return True
            entries = [(offset, *ENTRY.unpack_from(self._table, offset)) for offset in bucket]
            known = next((entry for entry in entries if entry[1] == name and entry[3] > now), None)
            if known is not None and known[2] != key.digest:
                return False
            offset = (known or min(entries, key=lambda entry: entry[3]))[0]
            # The time is written last: a worker that dies meanwhile leaves a free entry.
            self._set_expiry(offset, 0.0)
            ENTRY.pack_into(self._table, offset, name, key.digest, 0.0)
            self._set_expiry(offset, now + CLAIM_SECONDS)
        return True

    def expire(self, tenant: str, key: IdempotencyKey, at: float) -> None:
        """Let the claim of this request end at a time."""
        name = _name(tenant, key)
        with self._lock(name) as bucket:
            for offset in bucket or ():
                if ENTRY.unpack_from(self._table, offset)[:2] == (name, key.digest):
                    self._set_expiry(offset, at)

    def _set_expiry(self, offset: int, at: float) -> None:
        EXPIRY.pack_into(self._table, offset + EXPIRY_OFFSET, at)

    @contextmanager
    def _lock(self, name: bytes) -> Iterator[range | None]:
        """Lock the bucket of a name and yield the offsets of its entries; None if another worker keeps it."""
        size = ENTRIES_PER_BUCKET * ENTRY.size
        start = int.from_bytes(name[:4], "big") % BUCKETS * size
        for _ in range(LOCK_ATTEMPTS):
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, size, start)
            except OSError:
                continue
            try:
                yield range(start, start + size, ENTRY.size)
            finally:
                fcntl.lockf(self._file, fcntl.LOCK_UN, size, start)
            return
        yield None


def open_key_table(path: Path) -> KeyTable | None:
    """Return the table at `path`. Return None, and log the reason, if the file cannot be opened."""
    try:
        return KeyTable(path)
    except OSError as error:
        log.warning("the workers do not share their Idempotency-Keys: %s: %s", path, error.strerror)
        return None


def _name(tenant: str, key: IdempotencyKey) -> bytes:
    return blake2b(tenant.encode() + b"\n" + key.key, digest_size=16).digest()
