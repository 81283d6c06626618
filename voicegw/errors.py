"""Everything that can go wrong, and what to do about it.

    VoicegwError
    ├── ConfigError              the operator's; at start only
    ├── Closing                  503, the gateway shuts down in the middle of a turn
    ├── Refused                  the client's; always before the first byte
    │   ├── BadRequest           400
    │   ├── Unauthorized         401
    │   ├── Forbidden            403
    │   ├── NotFound             404
    │   │   └── UnknownModel     404, code model_not_found
    │   ├── WrongMethod          405
    │   ├── TooLarge             413
    │   ├── HeadersTooLarge      431
    │   ├── Busy                 429, with Retry-After
    │   └── Draining             503, the gateway is shutting down
    └── AgentError               502, the agent's; a status before the first byte, a sentence after it
        ├── AgentUnavailable     502, nothing was handed over to the agent
        ├── AgentRefused         502, the agent does not take what we send: key, model or address are wrong
        ├── AgentBusy            503
        ├── AgentTimeout         504
        └── AgentGarbled         502, the agent broke its protocol or said nothing

Two questions decide everything: whose fault is it, and has the first byte left? The message of a
`Refused` is shown to the client; of an `AgentError` the log has the summary, and the client `public`.
"""

from __future__ import annotations

from typing import ClassVar


class VoicegwError(Exception):
    """The base of all of ours. `status`, `type` and `code` are those of OpenAI's error envelope."""

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    code: ClassVar[str | None] = None
    public: ClassVar[str] = "The gateway failed."
    retry: ClassVar[bool] = False
    spoken: ClassVar[str] = "failed"

    @property
    def message(self) -> str:
        """What the client is told."""
        return self.public


class ConfigError(VoicegwError):
    """The configuration cannot be used. The message names file and key."""


class Closing(VoicegwError):
    """The gateway shuts down in the middle of a turn."""

    status = 503
    code = "overloaded"
    public = "The gateway is shutting down."
    retry = True
    spoken = "closing"


class Refused(VoicegwError):
    """The request is not accepted. `param` names the field at fault, `after` is a wait in seconds."""

    status = 400
    type = "invalid_request_error"

    def __init__(self, message: str, *, param: str | None = None, after: float | None = None) -> None:
        super().__init__(message)
        self.param = param
        self.after = after

    @property
    def message(self) -> str:
        return str(self)


class BadRequest(Refused):
    pass


class Unauthorized(Refused):
    status = 401
    type = "authentication_error"
    code = "invalid_api_key"


class Forbidden(Refused):
    status = 403
    type = "permission_error"


class NotFound(Refused):
    status = 404
    type = "not_found_error"


class UnknownModel(NotFound):
    type = "invalid_request_error"
    code = "model_not_found"


class WrongMethod(Refused):
    status = 405


class TooLarge(Refused):
    status = 413
    code = "request_too_large"


class HeadersTooLarge(Refused):
    status = 431
    code = "headers_too_large"


class Busy(Refused):
    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"
    retry = True
    spoken = "busy"


class Draining(Refused):
    status = 503
    type = "server_error"
    code = "overloaded"
    retry = True
    spoken = "busy"


class AgentError(VoicegwError):
    """The agent could not answer. `quote` is what others said about it: it may hold callers' words."""

    status = 502
    public = "The agent failed."

    def __init__(self, summary: str, quote: str = "") -> None:
        super().__init__()
        self.reword(summary, quote)

    def reword(self, summary: str, quote: str) -> None:
        """Say the same in other words: with a name, or without a secret."""
        self.summary = summary
        self.quote = quote
        self.args = (f"{summary}: {quote}" if quote else summary,)


class AgentUnavailable(AgentError):
    public = "The agent cannot be reached."
    retry = True


class AgentRefused(AgentError):
    public = "The agent refused the gateway."


class AgentBusy(AgentError):
    status = 503
    code = "overloaded"
    public = "The agent is busy."
    retry = True
    spoken = "busy"


class AgentTimeout(AgentError):
    status = 504
    public = "The agent took too long."


class AgentGarbled(AgentError):
    public = "The agent gave an answer that makes no sense."
