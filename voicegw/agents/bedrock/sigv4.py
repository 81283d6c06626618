"""Signature Version 4, by which AWS knows who sends a request, for requests without a query.

Pure: the caller tells the time. A signature is good for five minutes before and after it.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from urllib.parse import quote

METHOD = "AWS4-HMAC-SHA256"
END = "aws4_request"


@dataclass(frozen=True, slots=True)
class Credentials:
    """An access key. `session_token` belongs to one that is valid for a while only."""

    access_key: str
    secret_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs requests to one service in one region."""

    credentials: Credentials
    region: str
    service: str

    def sign(
        self, stamp: str, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> dict[str, str]:
        """The headers that a request needs besides `headers`, which are signed and must name the `host`.

        `stamp` is the time, as `20261231T235959Z`; `path` is quoted, as it is sent, and signed quoted again.
        """
        token = self.credentials.session_token
        more = {"x-amz-date": stamp, **({"x-amz-security-token": token} if token else {})}
        written = _written({**headers, **more})
        names = ";".join(written)
        lines = "".join(f"{name}:{value}\n" for name, value in written.items())
        request = "\n".join((method, quote(path, safe="/~"), "", lines, names, sha256(body).hexdigest()))
        scope = f"{stamp[:8]}/{self.region}/{self.service}/{END}"
        sealed = "\n".join((METHOD, stamp, scope, sha256(request.encode()).hexdigest()))
        signature = hmac.digest(self._key(stamp[:8]), sealed.encode(), "sha256").hex()
        credential = f"Credential={self.credentials.access_key}/{scope}"
        more["authorization"] = f"{METHOD} {credential}, SignedHeaders={names}, Signature={signature}"
        return more

    def _key(self, day: str) -> bytes:
        key = f"AWS4{self.credentials.secret_key}".encode()
        for part in (day, self.region, self.service, END):
            key = hmac.digest(key, part.encode(), "sha256")
        return key


def _written(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers as they are signed: by name, in small letters, with single blanks."""
    return dict(sorted((name.lower(), " ".join(value.split())) for name, value in headers.items()))
