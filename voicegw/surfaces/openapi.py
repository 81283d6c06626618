"""What the OpenAPI document says about the chat endpoint, whose route FastAPI does not see."""

from __future__ import annotations

from typing import Any

_ERROR: dict[str, Any] = {
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
_REQUEST: dict[str, Any] = {
    "type": "object",
    "required": ["messages"],
    "additionalProperties": True,
    "properties": {
        "model": {"type": "string", "description": "Name of an agent; unknown names reach the default one."},
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
        "stream": {
            "type": ["boolean", "null"],
            "description": "Server-sent events instead of one JSON object.",
        },
        "stream_options": {
            "type": ["object", "null"],
            "properties": {"include_usage": {"type": ["boolean", "null"]}},
        },
        "tools": {"type": ["array", "null"], "items": {"type": "object"}},
        "tool_choice": {"type": ["string", "object", "null"]},
        "max_tokens": {"type": ["integer", "null"]},
        "temperature": {"type": ["number", "null"]},
    },
    "example": {"stream": True, "messages": [{"role": "user", "content": "When are you open?"}]},
}


def _refused(description: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": _ERROR}}}


CHAT_OPERATION: dict[str, Any] = {
    "summary": "One turn: the agent answers the messages",
    "operationId": "chat_completions",
    "description": "OpenAI's chat completions. Unknown keys are accepted and reach the agent.",
    "requestBody": {"required": True, "content": {"application/json": {"schema": _REQUEST}}},
    "responses": {
        "200": {
            "description": "The answer: `chat.completion`, or a stream of `chat.completion.chunk`.",
            "content": {
                "application/json": {"schema": {"type": "object"}},
                "text/event-stream": {"schema": {"type": "string"}},
            },
        },
        "400": _refused("The request cannot be read; `param` names the field."),
        "401": _refused("No key, or a wrong one."),
        "404": _refused("The key may use no such model."),
        "413": _refused("The body is too large."),
        "429": _refused("Too many turns; Retry-After says when to try again."),
        "502": _refused("The agent failed before its first event."),
        "503": _refused("The gateway or the agent takes no turns now."),
        "504": _refused("The agent took too long."),
    },
}
