"""All exceptions of the gateway, each with its HTTP status and the phrase that callers hear.

    VoicegwError
    ├── ConfigError              the operator's error; at start only
    ├── ShuttingDown             503, the gateway shuts down in the middle of a turn
    ├── RequestError             the client's error; always before the first byte
    │   ├── BadRequest           400
    │   ├── Unauthorized         401
    │   ├── Forbidden            403
    │   ├── NotFound             404
    │   │   └── ModelNotFound    404, code model_not_found
    │   ├── MethodNotAllowed     405
    │   ├── ContentTooLarge      413
    │   ├── UnprocessableContent 422, the Idempotency-Key belongs to another request
    │   ├── UnsupportedMediaType 415
    │   ├── HeadersTooLarge      431
    │   ├── TooManyRequests      429, with Retry-After
    │   └── ServiceUnavailable   503, the gateway is shutting down
    └── AgentError               502, the agent's error; a status before the first byte, a sentence after it
        ├── AgentUnavailable     502, the agent received nothing
        ├── AgentRejected        502, the agent rejects the request: key, model or address are wrong
        ├── AgentBusy            503
        ├── AgentTimeout         504
        └── AgentProtocolError   502, the agent broke its protocol or gave an empty answer

Two questions decide the handling: who caused the error, and was the first byte sent? The client sees the
message of a `RequestError`. The log has the summary of an `AgentError`; the client sees its `public` text.
The envelope is OpenAI's: https://platform.openai.com/docs/guides/error-codes. Handling is not in this module.
"""

from __future__ import annotations

from typing import ClassVar


class VoicegwError(Exception):
    """The base class of all exceptions of the gateway."""

    status: ClassVar[int] = 500
    """The HTTP status."""
    type: ClassVar[str] = "server_error"
    """`type` in OpenAI's error envelope."""
    code: ClassVar[str | None] = None
    """`code` in OpenAI's error envelope; None for null."""
    public: ClassVar[str] = "The gateway failed."
    """The text for clients. It holds no detail of the failure."""
    retryable: ClassVar[bool] = False
    """True if the same request may succeed a moment later."""
    phrase: ClassVar[str] = "failure"
    """The field of `voicegw.turns.phrases.Phrases` with the sentence that the caller hears."""

    @property
    def message(self) -> str:
        """The text that the client sees."""
        return self.public


class ConfigError(VoicegwError):
    """The configuration is not valid. The message names file and key."""


class ShuttingDown(VoicegwError):
    """The gateway shuts down in the middle of a turn."""

    status = 503
    code = "overloaded"
    public = "The gateway is shutting down."
    retryable = True
    phrase = "shutdown"


class RequestError(VoicegwError):
    """The gateway does not accept the request. `message` is sent to the client."""

    status = 400
    type = "invalid_request_error"

    def __init__(self, message: str, *, param: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        # The field at fault, such as "messages[0].role"; None if it is not one field.
        self.param = param
        # Seconds until a retry can succeed, for the header Retry-After; None without the header.
        self.retry_after = retry_after

    @property
    def message(self) -> str:
        return str(self)


class BadRequest(RequestError):
    """The body or a field of the request is not valid."""


class Unauthorized(RequestError):
    """The request has no API key, or a wrong one."""

    status = 401
    type = "authentication_error"
    code = "invalid_api_key"


class Forbidden(RequestError):
    """The client may not do this, with or without an API key."""

    status = 403
    type = "permission_error"


class NotFound(RequestError):
    """The path or an object that the request names does not exist."""

    status = 404
    type = "not_found_error"


class ModelNotFound(NotFound):
    """No agent that this API key allows answers for the model."""

    type = "invalid_request_error"
    code = "model_not_found"


class MethodNotAllowed(RequestError):
    """The path exists, but not with this HTTP method."""

    status = 405


class ContentTooLarge(RequestError):
    """The body is longer than the configured limit."""

    status = 413
    code = "request_too_large"


class UnsupportedMediaType(RequestError):
    """The body is compressed, or encoded in another way."""

    status = 415
    code = "unsupported_media_type"


class UnprocessableContent(RequestError):
    """The request has the Idempotency-Key of another request."""

    status = 422
    code = "idempotency_key_reused"


class HeadersTooLarge(RequestError):
    """The headers are longer than the configured limit."""

    status = 431
    code = "headers_too_large"


class TooManyRequests(RequestError):
    """A limit of concurrent turns or of requests per minute is reached."""

    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"
    retryable = True
    phrase = "busy"


class ServiceUnavailable(RequestError):
    """The gateway accepts no new turns because it is shutting down."""

    status = 503
    type = "server_error"
    code = "overloaded"
    retryable = True
    phrase = "busy"


class AgentError(VoicegwError):
    """The agent did not answer the turn."""

    status = 502
    public = "The agent failed."

    summary: str
    """The failure in the gateway's own words, for the log."""
    quote: str
    """The words of the agent or its server about it; "" without any. They may hold callers' words."""

    def __init__(self, summary: str, quote: str = "") -> None:
        super().__init__()
        self.redact(summary, quote)

    def redact(self, summary: str, quote: str) -> None:
        """Replace both texts, for example to add the agent's name or to remove a secret."""
        self.summary = summary
        self.quote = quote
        self.args = (f"{summary}: {quote}" if quote else summary,)


class AgentUnavailable(AgentError):
    """The connection to the agent failed before the agent received anything."""

    public = "The agent cannot be reached."
    retryable = True


class AgentRejected(AgentError):
    """The agent rejects the gateway's request: the key, the model or the address is wrong."""

    public = "The agent refused the gateway."


class AgentBusy(AgentError):
    """The agent answers with a rate limit or an overload."""

    status = 503
    code = "overloaded"
    public = "The agent is busy."
    retryable = True
    phrase = "busy"


class AgentTimeout(AgentError):
    """The agent exceeded a configured timeout."""

    status = 504
    public = "The agent took too long."


class AgentProtocolError(AgentError):
    """The agent broke its protocol, or ended without an answer."""

    public = "The agent gave an answer that makes no sense."
