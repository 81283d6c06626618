"""What the OpenAPI document says about the endpoints whose routes FastAPI does not see."""

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
_COMMON: dict[str, Any] = {
    "model": {"type": "string", "description": "Name of an agent; unknown names reach the default one."},
    "stream": {
        "type": ["boolean", "null"],
        "description": "Server-sent events instead of one JSON object.",
    },
    "tools": {"type": ["array", "null"], "items": {"type": "object"}},
    "tool_choice": {"type": ["string", "object", "null"]},
    "temperature": {"type": ["number", "null"]},
}
_REQUEST: dict[str, Any] = {
    "type": "object",
    "required": ["messages"],
    "additionalProperties": True,
    "properties": {
        **_COMMON,
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
_RESPONSES_REQUEST: dict[str, Any] = {
    "type": "object",
    "additionalProperties": True,
    "properties": {
        **_COMMON,
        "input": {
            "type": ["string", "array"],
            "items": {"type": "object"},
            "description": "What the caller said: text, or messages, function calls and their outputs.",
        },
        "instructions": {"type": ["string", "null"]},
        "max_output_tokens": {"type": ["integer", "null"]},
        "previous_response_id": {
            "type": ["string", "null"],
            "description": "The answer to go on from, instead of sending the conversation again.",
        },
        "store": {
            "type": ["boolean", "null"],
            "description": "false: no other request may go on from the answer.",
        },
    },
    "example": {"stream": True, "input": "When are you open?"},
}


def _refused(description: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": _ERROR}}}


_REFUSALS: dict[str, Any] = {
    "400": _refused("The request cannot be read; `param` names the field."),
    "401": _refused("No key, or a wrong one."),
    "404": _refused("The key may use no such model, or `previous_response_id` is not known (any more)."),
    "413": _refused("The body is too large."),
    "429": _refused("Too many turns; Retry-After says when to try again."),
    "502": _refused("The agent failed before its first event."),
    "503": _refused("The gateway or the agent takes no turns now."),
    "504": _refused("The agent took too long."),
}


def _operation(id: str, request: dict[str, Any], description: str, answer: str) -> dict[str, Any]:
    return {
        "summary": "One turn: the agent answers",
        "operationId": id,
        "description": description,
        "requestBody": {"required": True, "content": {"application/json": {"schema": request}}},
        "responses": {
            "200": {
                "description": answer,
                "content": {
                    "application/json": {"schema": {"type": "object"}},
                    "text/event-stream": {"schema": {"type": "string"}},
                },
            },
            **_REFUSALS,
        },
    }


CHAT_OPERATION = _operation(
    "chat_completions",
    _REQUEST,
    "OpenAI's chat completions. Unknown keys are accepted and reach the agent.",
    "The answer: `chat.completion`, or a stream of `chat.completion.chunk`.",
)
RESPONSES_OPERATION = _operation(
    "responses",
    _RESPONSES_REQUEST,
    "OpenAI's Responses API. Unknown keys are accepted and reach the agent. Answers are remembered for "
    "`previous_response_id` in the memory of the process, for a while, for the key that asked.",
    "The answer: a `response`, or a stream of its events from `response.created` to `response.completed`.",
)
