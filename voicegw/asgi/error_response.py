"""Answers a request that failed before its first byte."""

from __future__ import annotations

from starlette.responses import Response

from voicegw.errors import RequestError, VoicegwError
from voicegw.wire import openai

METHODS = "GET, HEAD, OPTIONS, POST"


def error_response(failure: VoicegwError, request: str) -> Response:
    """A failure before the first byte, as OpenAI's error envelope."""
    headers = {"x-request-id": request}
    after = failure.retry_after if isinstance(failure, RequestError) else None
    if after is not None:
        headers |= {
            "retry-after": str(max(1, round(after + 0.499))),
            "retry-after-ms": str(round(after * 1000)),
        }
    if not failure.retryable:
        headers["x-should-retry"] = "false"
    if failure.status == 401:
        headers["www-authenticate"] = "Bearer"
    if failure.status == 405:
        headers["allow"] = METHODS
    return Response(openai.error_body(failure), failure.status, headers, "application/json")
