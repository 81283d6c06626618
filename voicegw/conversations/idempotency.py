"""The runs of requests with an `Idempotency-Key`: a repeated request gets the answer to its first try.

This process alone knows them. Source: the IETF draft "The Idempotency-Key HTTP Header Field".
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

from voicegw.errors import UnprocessableContent
from voicegw.turns.run import Run

MAX_TOTAL_BYTES = 64 * 1024 * 1024
"""Bytes of the bodies of all requests that are remembered. Above it, the oldest requests are forgotten."""


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """The `Idempotency-Key` of one request."""

    key: bytes
    """The value of the header."""
    digest: bytes
    """A digest of the endpoint, the call and the body: a repetition has the same one."""
    byte_count: int
    """The size of the request in bytes."""


def create_idempotency_key(key: bytes, path: str, call: str, body: bytes) -> IdempotencyKey:
    """Return the key of a request to the endpoint at `path`; `call` names its call, "" for none."""
    return IdempotencyKey(key, blake2b(f"{path}\n{call}\n".encode() + body).digest(), len(body))


class IdempotentRuns:
    """The runs by tenant and `Idempotency-Key`."""

    def __init__(self, max_bytes: int = MAX_TOTAL_BYTES) -> None:
        # Limit of `total_bytes`.
        self.max_bytes = max_bytes
        # The sum of all `byte_count`.
        self.total_bytes = 0
        # By (tenant, key), the oldest first.
        self._runs: dict[tuple[str, bytes], tuple[IdempotencyKey, Run]] = {}

    def __len__(self) -> int:
        return len(self._runs)

    def find(self, tenant: str, key: IdempotencyKey) -> Run | None:
        """Return the run of the request that this one repeats; None if the key is new.

        Raise `UnprocessableContent` if another request of this tenant has the same key.
        """
        known, run = self._runs.get((tenant, key.key), (key, None))
        if known.digest != key.digest:
            raise UnprocessableContent(
                "The Idempotency-Key belongs to another request: repeat that request unchanged, "
                "or send a new key.",
                param="Idempotency-Key",
            )
        return run

    def add(self, tenant: str, key: IdempotencyKey, run: Run) -> None:
        """Remember the run of a request until `remove`."""
        self._forget((tenant, key.key))
        self._runs[tenant, key.key] = key, run
        run.idempotency_keys += (key.key,)
        self.total_bytes += key.byte_count
        while self.total_bytes > self.max_bytes:
            self._forget(next(iter(self._runs)))

    def remove(self, run: Run) -> None:
        """Forget all requests that this run answered."""
        for key in run.idempotency_keys:
            if self._runs.get((run.turn.tenant, key), (None, None))[1] is run:
                self._forget((run.turn.tenant, key))

    def _forget(self, name: tuple[str, bytes]) -> None:
        if name in self._runs:
            self.total_bytes -= self._runs.pop(name)[0].byte_count
