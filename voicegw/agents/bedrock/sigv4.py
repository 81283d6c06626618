"""AWS Signature Version 4 for requests without a query. Pure: the caller passes the time.

AWS accepts a signature for five minutes before and after its time.

Source: AWS documentation, "Signature Version 4 for API requests"; the tests compare with botocore.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from urllib.parse import quote

ALGORITHM = "AWS4-HMAC-SHA256"
TERMINATOR = "aws4_request"


@dataclass(frozen=True, slots=True)
class Credentials:
    """The id `access_key` of an access key and its secret; `session_token` belongs to a temporary one."""

    access_key: str
    secret_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs requests to `service`, such as "bedrock", in `region` with `credentials`."""

    credentials: Credentials
    region: str
    service: str

    def sign(
        self, timestamp: str, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> dict[str, str]:
        """Return the headers that a request needs besides `headers`, which are signed and must name `host`.

        `timestamp` is the time in UTC, such as `20261231T235959Z`. `path` is quoted, as it is sent; the
        signature covers it quoted a second time.
        """
        token = self.credentials.session_token
        more = {"x-amz-date": timestamp, **({"x-amz-security-token": token} if token else {})}
        canonical = _canonical_headers({**headers, **more})
        names = ";".join(canonical)
        lines = "".join(f"{name}:{value}\n" for name, value in canonical.items())
        request = "\n".join((method, quote(path, safe="/~"), "", lines, names, sha256(body).hexdigest()))
        scope = f"{timestamp[:8]}/{self.region}/{self.service}/{TERMINATOR}"
        to_sign = "\n".join((ALGORITHM, timestamp, scope, sha256(request.encode()).hexdigest()))
        signature = hmac.digest(self._signing_key(timestamp[:8]), to_sign.encode(), "sha256").hex()
        credential = f"Credential={self.credentials.access_key}/{scope}"
        more["authorization"] = f"{ALGORITHM} {credential}, SignedHeaders={names}, Signature={signature}"
        return more

    def _signing_key(self, date: str) -> bytes:
        key = f"AWS4{self.credentials.secret_key}".encode()
        for part in (date, self.region, self.service, TERMINATOR):
            key = hmac.digest(key, part.encode(), "sha256")
        return key


def _canonical_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return headers as they are signed: sorted by name, in lower case, with single blanks."""
    return dict(sorted((name.lower(), " ".join(value.split())) for name, value in headers.items()))
