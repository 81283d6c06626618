"""The HTTP response to a request that fails before the first byte of its answer."""

from __future__ import annotations

from starlette.responses import Response

from voicegw.errors import RequestError, VoicegwError
from voicegw.wire import openai

ALLOWED_METHODS = "GET, HEAD, OPTIONS, POST"
"""The `allow` header of a 405 response. One value for all paths."""


def error_response(failure: VoicegwError, request_id: str) -> Response:
    """Return a failure as a response with OpenAI's error envelope.

    Its headers tell clients whether and when to retry: `retry-after` in whole seconds (at least 1),
    `retry-after-ms`, and `x-should-retry: false` if a retry cannot succeed.
    Source of the last two: the retry logic of OpenAI's SDKs.
    """
    headers = {"x-request-id": request_id}
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
        headers["allow"] = ALLOWED_METHODS
    if failure.status == 415:
        headers["accept-encoding"] = "identity"
    return Response(openai.encode_error(failure), failure.status, headers, "application/json")
