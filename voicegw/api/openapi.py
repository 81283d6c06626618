"""The OpenAPI descriptions of the two completion endpoints, whose routes FastAPI does not know."""

from __future__ import annotations

from typing import Any

_ERROR_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
_COMMON_PROPERTIES: dict[str, Any] = {
    "model": {
        "type": "string",
        "description": "The name of an agent. The default agent answers for unknown names.",
    },
    "stream": {
        "type": ["boolean", "null"],
        "description": "Server-sent events instead of one JSON object.",
    },
    "tools": {"type": ["array", "null"], "items": {"type": "object"}},
    "tool_choice": {"type": ["string", "object", "null"]},
    "temperature": {"type": ["number", "null"]},
}
_CHAT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["messages"],
    "additionalProperties": True,
    "properties": {
        **_COMMON_PROPERTIES,
        "messages": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["role"],
                "properties": {
                    "role": {"enum": ["system", "developer", "user", "assistant", "tool", "function"]},
                    "content": {"type": ["string", "array", "null"]},
                },
            },
        },
        "stream_options": {
            "type": ["object", "null"],
            "properties": {"include_usage": {"type": ["boolean", "null"]}},
        },
        "max_tokens": {"type": ["integer", "null"]},
    },
    "example": {"stream": True, "messages": [{"role": "user", "content": "When are you open?"}]},
}
_RESPONSES_SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": True,
    "properties": {
        **_COMMON_PROPERTIES,
        "input": {
            "type": ["string", "array"],
            "items": {"type": "object"},
            "description": "The caller's words as text, or messages, function calls and their outputs.",
        },
        "instructions": {"type": ["string", "null"]},
        "max_output_tokens": {"type": ["integer", "null"]},
        "previous_response_id": {
            "type": ["string", "null"],
            "description": "The response to continue, instead of sending the conversation again.",
        },
        "store": {
            "type": ["boolean", "null"],
            "description": "false: no later request may continue the response.",
        },
    },
    "example": {"stream": True, "input": "When are you open?"},
}


def _error_response(description: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": _ERROR_SCHEMA}}}


_ERROR_RESPONSES: dict[str, Any] = {
    "400": _error_response("The request is invalid; `param` names the field."),
    "401": _error_response("The API key is missing or wrong."),
    "404": _error_response("The key may not use this model, or `previous_response_id` is unknown."),
    "413": _error_response("The body is too large."),
    "415": _error_response("The body is compressed."),
    "422": _error_response("The Idempotency-Key belongs to another request."),
    "429": _error_response("Too many turns; Retry-After says when to retry."),
    "502": _error_response("The agent failed before its first event."),
    "503": _error_response("The gateway or the agent takes no turns at the moment."),
    "504": _error_response("The agent took too long."),
}


def _operation(id: str, request_schema: dict[str, Any], description: str, success: str) -> dict[str, Any]:
    return {
        "summary": "Answer one turn",
        "operationId": id,
        "description": description,
        "requestBody": {"required": True, "content": {"application/json": {"schema": request_schema}}},
        "responses": {
            "200": {
                "description": success,
                "content": {
                    "application/json": {"schema": {"type": "object"}},
                    "text/event-stream": {"schema": {"type": "string"}},
                },
            },
            **_ERROR_RESPONSES,
        },
    }


# The OpenAPI operation of chat completions.
CHAT_OPERATION = _operation(
    "chat_completions",
    _CHAT_SCHEMA,
    "OpenAI's chat completions. Unknown keys are accepted and reach the agent.",
    "A `chat.completion`, or a stream of `chat.completion.chunk`.",
)
# The OpenAPI operation of the Responses API.
RESPONSES_OPERATION = _operation(
    "responses",
    _RESPONSES_SCHEMA,
    "OpenAI's Responses API. Unknown keys are accepted and reach the agent. Responses are kept for "
    "`previous_response_id` in the memory of the process, for a while and for the same API key.",
    "A `response`, or a stream of its events from `response.created` to `response.completed`.",
)
