"""The context of a request: the facts that are known before its body is read."""

from __future__ import annotations

from dataclasses import dataclass

from voicegw.security.keys import ApiKey


@dataclass(frozen=True, slots=True)
class RequestContext:
    """The context of one request. `GatewayMiddleware` puts it into the ASGI scope as `scope["voicegw"]`."""

    key: ApiKey
    """The API key of the request; `ANONYMOUS` on public paths, on websockets, and without configured keys."""
    id: str
    """The request id, returned as `x-request-id` and written to the log."""
    client: str
    """The IP address of the client, behind trusted proxies the address that they report."""
