"""The runs of requests with an `Idempotency-Key`: a repeated request gets the answer to its first try.

This process alone knows the runs. To which request a key belongs, other workers know too (`KeyClaims`).
Source: the IETF draft "The Idempotency-Key HTTP Header Field".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Protocol

from voicegw.errors import UnprocessableContent
from voicegw.turns.run import Run

MAX_TOTAL_BYTES = 64 * 1024 * 1024
"""Bytes of all requests that are remembered. Above it, the oldest requests are forgotten."""
RUN_BYTES = 16_384
"""Bytes that each request counts for its run and its answer, besides its own."""


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """The `Idempotency-Key` of one request."""

    key: bytes
    """The value of the header."""
    digest: bytes
    """A digest, of 16 bytes, of the endpoint, the call and the body: a repetition has the same one."""
    byte_count: int
    """The size of the request in bytes."""


def create_idempotency_key(key: bytes, path: str, call: str, body: bytes) -> IdempotencyKey:
    """Return the key of a request to the endpoint at `path`; `call` names its call, "" for none."""
    digest = blake2b(f"{path}\n{call}\n".encode() + body, digest_size=16).digest()
    return IdempotencyKey(key, digest, len(body))


class KeyClaims(Protocol):
    """Knows, for several processes, to which request each key of a tenant belongs. No method waits."""

    def claim(self, tenant: str, key: IdempotencyKey, now: float) -> bool:
        """Note that the key belongs to this request, until `expire`. Return False if it is another's."""
        ...

    def expire(self, tenant: str, key: IdempotencyKey, at: float) -> None:
        """Let the claim of this request end at a time, in seconds of the clock of `now`."""
        ...


class IdempotentRuns:
    """The runs by tenant and `Idempotency-Key`. `claims` is shared with other processes; None without any."""

    def __init__(self, max_bytes: int = MAX_TOTAL_BYTES, *, claims: KeyClaims | None = None) -> None:
        # Limit of `total_bytes`.
        self.max_bytes = max_bytes
        # The sum of all `byte_count`, with `RUN_BYTES` for each run.
        self.total_bytes = 0
        # By (tenant, key), the oldest first.
        self._runs: dict[tuple[str, bytes], tuple[IdempotencyKey, Run]] = {}
        self._claims = claims

    def __len__(self) -> int:
        return len(self._runs)

    def find(self, tenant: str, key: IdempotencyKey) -> Run | None:
        """Return the run of the request that this one repeats; None if the key is new in this process.

        Raise `UnprocessableContent` if another request of this tenant has the same key.
        """
        known, run = self._runs.get((tenant, key.key), (key, None))
        if known.digest != key.digest:
            raise _key_reused()
        return run

    def get_or_start(
        self,
        tenant: str,
        key: IdempotencyKey,
        start: Callable[[], Run],
        is_reusable: Callable[[Run], bool],
        *,
        now: float,
        window_ends: float,
    ) -> Run:
        """Return the run of the request with this key if it is reusable, else a new one by `start`.

        `window_ends` is the time until which a run that is closed now answers a repetition. Raise
        `UnprocessableContent` if another request of this tenant has the same key, in any process, and what
        `start` raises.
        """
        known = self.find(tenant, key)
        if known is not None and is_reusable(known):
            return known
        if self._claims is not None and not self._claims.claim(tenant, key, now):
            raise _key_reused()
        try:
            run = start()
        except BaseException:
            self._expire(tenant, key, now)
            raise
        if run.is_closed:
            self._expire(tenant, key, window_ends)
        else:
            self.add(tenant, key, run)
        return run

    def _expire(self, tenant: str, key: IdempotencyKey, at: float) -> None:
        if self._claims is not None:
            self._claims.expire(tenant, key, at)

    def add(self, tenant: str, key: IdempotencyKey, run: Run) -> None:
        """Remember the run of a request until `remove`."""
        self._forget((tenant, key.key))
        self._runs[tenant, key.key] = key, run
        run.idempotency_keys += (key.key,)
        self.total_bytes += RUN_BYTES + key.byte_count
        while self.total_bytes > self.max_bytes:
            self._forget(next(iter(self._runs)))

    def on_run_closed(self, run: Run, expires_at: float) -> None:
        """Note that the keys of a run stay taken until a time."""
        for name in ((run.turn.tenant, key) for key in run.idempotency_keys):
            key, known = self._runs.get(name, (None, None))
            if key is not None and known is run:
                self._expire(run.turn.tenant, key, expires_at)

    def remove(self, run: Run) -> None:
        """Forget all requests that this run answered."""
        for key in run.idempotency_keys:
            if self._runs.get((run.turn.tenant, key), (None, None))[1] is run:
                self._forget((run.turn.tenant, key))

    def _forget(self, name: tuple[str, bytes]) -> None:
        if name in self._runs:
            self.total_bytes -= RUN_BYTES + self._runs.pop(name)[0].byte_count


def _key_reused() -> UnprocessableContent:
    return UnprocessableContent(
        "The Idempotency-Key belongs to another request: repeat that request unchanged, or send a new key.",
        param="Idempotency-Key",
    )
