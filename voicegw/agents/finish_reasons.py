"""The end of an answer, for every kind of model alike: how certain it is, and the words for its reason. Pure.

An unknown word is a failure, because the answer may be incomplete.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum

from voicegw.agents.client.error_body import REPORTED_ERROR, describe_code
from voicegw.errors import AgentBusy, AgentError, AgentProtocolError, AgentTimeout
from voicegw.events import Reason


class AnswerState(Enum):
    """How far an answer is."""

    OPEN = "more of it comes"
    MAYBE_ENDED = "a reason to finish came, but its server may send one in each chunk"
    ENDED = "nothing is missing, even if the connection breaks now"


WORDS: Mapping[Reason, str] = {
    "stop": "stop stopped stop_sequence end end_turn eos eos_token eot complete completed done finish "
    "finished",
    "tool_calls": "tool_calls tool_call tool_use function_call",
    "length": "length max_tokens max_output_tokens max_new_tokens max_length model_length token_limit "
    "model_context_window_exceeded context_length_exceeded truncated incomplete pause_turn",
    "content_filter": "content_filter content_filtered guardrail_intervened refusal safety sensitive "
    "recitation blocklist prohibited_content spii",
}
"""The words of each reason. Sources: the API references of OpenAI ("Chat completion chunk object"), Anthropic
("Handling stop reasons"), Amazon Bedrock ("ConverseStream"), Google ("FinishReason"), Mistral and Zhipu."""
FAILURES: Mapping[type[AgentError], str] = {
    AgentBusy: "insufficient_system_resource overloaded rate_limit",
    AgentTimeout: "timeout",
    AgentError: "error network_error abort aborted cancelled canceled failed failure",
}
"""The words that mean a failure. Sources: the API references of DeepSeek and Zhipu; vLLM and SGLang."""
NO_REASON = frozenset({"null", "none"})
"""Words that DashScope and others send as long as the answer goes on."""


def _key(word: str) -> str:
    """Return the letters of a word in lower case: "MAX_TOKENS" and "maxTokens" are the same."""
    return re.sub("[^a-z]", "", word.lower())


REASONS_BY_KEY: Mapping[str, Reason] = {
    _key(word): reason for reason, words in WORDS.items() for word in words.split()
}
FAILURES_BY_KEY: Mapping[str, type[AgentError]] = {
    _key(word): error for error, words in FAILURES.items() for word in words.split()
}


def parse_finish_reason(word: object) -> Reason | None:
    """Return the reason that `word` stands for; None if the answer goes on.

    Raises `AgentBusy`, `AgentTimeout` or `AgentError` for a failure, `AgentProtocolError` for an unknown
    word, and TypeError if `word` is no text.
    """
    if not word:
        return None
    if type(word) is not str:
        raise TypeError(f"a finish reason is {type(word).__name__}")
    key = _key(word)
    if key in NO_REASON:
        return None
    if (reason := REASONS_BY_KEY.get(key)) is not None:
        return reason
    if key == "error":
        raise AgentError(REPORTED_ERROR)
    error = FAILURES_BY_KEY.get(key, AgentProtocolError)
    raise error(*describe_code("the model broke off with", word, "an unknown reason"))


def correct_reason(reason: Reason, has_tool_calls: bool) -> Reason:
    """Correct the reason: some servers say "stop" after tool calls, some "tool_calls" without any."""
    if is_cut(reason):
        return reason
    return "tool_calls" if has_tool_calls else "stop"


def is_cut(reason: Reason | None) -> bool:
    """Whether an answer with this reason ended before the model had finished it."""
    return reason in ("length", "content_filter")
