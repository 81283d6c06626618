"""Everything that can go wrong, and what to do about it.

    VoicegwError
    ├── ConfigError              the operator's; at start only
    ├── ShuttingDown             503, the gateway shuts down in the middle of a turn
    ├── RequestError             the client's; always before the first byte
    │   ├── BadRequest           400
    │   ├── Unauthorized         401
    │   ├── Forbidden            403
    │   ├── NotFound             404
    │   │   └── ModelNotFound    404, code model_not_found
    │   ├── MethodNotAllowed     405
    │   ├── ContentTooLarge      413
    │   ├── HeadersTooLarge      431
    │   ├── TooManyRequests      429, with Retry-After
    │   └── ServiceUnavailable   503, the gateway is shutting down
    └── AgentError               502, the agent's; a status before the first byte, a sentence after it
        ├── AgentUnavailable     502, nothing was handed over to the agent
        ├── AgentRejected        502, the agent does not take what we send: key, model or address are wrong
        ├── AgentBusy            503
        ├── AgentTimeout         504
        └── AgentProtocolError   502, the agent broke its protocol or said nothing

Two questions decide everything: whose fault is it, and has the first byte left? The message of a
`RequestError` is shown to the client; of an `AgentError` the log has the summary, and the client `public`.
"""

from __future__ import annotations

from typing import ClassVar


class VoicegwError(Exception):
    """The base of all of ours. `status`, `type` and `code` are those of OpenAI's error envelope."""

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    code: ClassVar[str | None] = None
    public: ClassVar[str] = "The gateway failed."
    retryable: ClassVar[bool] = False
    phrase: ClassVar[str] = "failed"

    @property
    def message(self) -> str:
        """What the client is told."""
        return self.public


class ConfigError(VoicegwError):
    """The configuration cannot be used. The message names file and key."""


class ShuttingDown(VoicegwError):
    """The gateway shuts down in the middle of a turn."""

    status = 503
    code = "overloaded"
    public = "The gateway is shutting down."
    retryable = True
    phrase = "closing"


class RequestError(VoicegwError):
    """The request is not accepted. `param` names the field at fault, `after` is a wait in seconds."""

    status = 400
    type = "invalid_request_error"

    def __init__(self, message: str, *, param: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.param = param
        self.retry_after = retry_after

    @property
    def message(self) -> str:
        return str(self)


class BadRequest(RequestError):
    pass


class Unauthorized(RequestError):
    status = 401
    type = "authentication_error"
    code = "invalid_api_key"


class Forbidden(RequestError):
    status = 403
    type = "permission_error"


class NotFound(RequestError):
    status = 404
    type = "not_found_error"


class ModelNotFound(NotFound):
    type = "invalid_request_error"
    code = "model_not_found"


class MethodNotAllowed(RequestError):
    status = 405


class ContentTooLarge(RequestError):
    status = 413
    code = "request_too_large"


class HeadersTooLarge(RequestError):
    status = 431
    code = "headers_too_large"


class TooManyRequests(RequestError):
    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"
    retryable = True
    phrase = "busy"


class ServiceUnavailable(RequestError):
    status = 503
    type = "server_error"
    code = "overloaded"
    retryable = True
    phrase = "busy"


class AgentError(VoicegwError):
    """The agent could not answer. `quote` is what others said about it: it may hold callers' words."""

    status = 502
    public = "The agent failed."

    def __init__(self, summary: str, quote: str = "") -> None:
        super().__init__()
        self.redact(summary, quote)

    def redact(self, summary: str, quote: str) -> None:
        """Say the same in other words: with a name, or without a secret."""
        self.summary = summary
        self.quote = quote
        self.args = (f"{summary}: {quote}" if quote else summary,)


class AgentUnavailable(AgentError):
    public = "The agent cannot be reached."
    retryable = True


class AgentRejected(AgentError):
    public = "The agent refused the gateway."


class AgentBusy(AgentError):
    status = 503
    code = "overloaded"
    public = "The agent is busy."
    retryable = True
    phrase = "busy"


class AgentTimeout(AgentError):
    status = 504
    public = "The agent took too long."


class AgentProtocolError(AgentError):
    public = "The agent gave an answer that makes no sense."
