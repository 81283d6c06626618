"""What is known of a request before its body is read."""

from __future__ import annotations

from dataclasses import dataclass

from voicegw.security.keys import ApiKey


@dataclass(frozen=True, slots=True)
class RequestContext:
    """Who is at the door: the key that was shown, the id of the request, the client's address."""

    key: ApiKey
    id: str
    client: str
