"""Rules for the tokens of models' prompt formats that leak into an answer.

Examples are `<|im_end|>`, the channels of gpt-oss, the tool calls of Kimi, DeepSeek, Llama and Mistral, and
the word "assistant" at the start. Tags are in `tags`.
"""

from __future__ import annotations

import re

from voicegw.speech.characters import split_names
from voicegw.speech.state import WAIT, FilterState

TOKEN = re.compile(r"<[|｜]/?([\w▁ -]{1,40})(?:[|｜]>|>)|<(\w{1,40})[|｜]>|<(unused\d{1,3}|start_of_turn)>")
TOKEN_PART = re.compile(r"<(?:[|｜]/?[\w▁ -]{0,40}[|｜]?|\w{1,40}[|｜]?)?\Z")
CHANNEL = re.compile(r"<\|channel\|?>(analysis|commentary|thought)\b")
CHANNEL_PART = re.compile(r"<\|channel\|?>[a-z]*\Z")
MESSAGE_HEAD = re.compile(
    r"<\|(?:start|channel)\|>[a-z]*(?=<)"
    r"|<\|(?:im_start|start_header_id)\|>[a-z]{1,16}(?:\r?\n|<\|end_header_id\|>\s*)"
    r"|<start_of_turn>[a-z]{1,16}\r?\n"
)
MESSAGE_HEAD_PART = re.compile(
    r"<\|(?:start|channel)\|>[a-z]{0,16}\Z|<(?:\|im_start\||start_of_turn)>[a-z]{0,16}\r?\Z"
    r"|<\|start_header_id\|>[a-z]{0,16}(?:<\|?[a-z_]{0,13}\|?>?\s*)?\Z"
)
END_OF_MESSAGE = split_names("eom_id eot_id end_of_text im_end")
SILENT_UNTIL = {
    "begin_of_thought": split_names("end_of_thought"),
    "thinking": split_names("/thinking end_of_thinking"),
    "think": split_names("/think"),
    "tool_call": split_names("/tool_call tool_call_end"),
    "tool_call_begin": split_names("tool_call_end tool_calls_end tool_calls_section_end"),
    "tool_calls_begin": split_names("tool_calls_end"),
    "tool_calls_section_begin": split_names("tool_calls_section_end"),
    "tool_response": split_names("/tool_response tool_response_end"),
    "tool_outputs_begin": split_names("tool_outputs_end"),
    "python_tag": END_OF_MESSAGE,
    "unused94": split_names("unused95"),
}
"""The tokens that begin silent text, and those that end it; without one the rest of the answer is silent."""
CHANNEL_ENDS = split_names("end return call channel_end")

BRACKET_ENDS = {
    "[TOOL_CALLS]": "\n\n",
    "[AVAILABLE_TOOLS]": "[/AVAILABLE_TOOLS]",
    "[TOOL_RESULTS]": "[/TOOL_RESULTS]",
    "[SYSTEM_PROMPT]": "[/SYSTEM_PROMPT]",
}
"""Mistral's tokens in brackets, and the characters that end the silent text behind each."""
BRACKET_TOKENS = (*BRACKET_ENDS, "[INST]", "[/INST]")
BRACKET_TOKEN_STARTS = frozenset(token[1] for token in BRACKET_TOKENS)
ROLE = re.compile(r"assistant[ \t]*\r?\n|(?:assistant|ai)[ \t]?[:：](?=\s)[ \t]*", re.IGNORECASE)
ROLE_PART = re.compile(
    r"(?:a(?:s(?:s(?:i(?:s(?:t(?:a(?:n(?:t[ \t]*\r?)?)?)?)?)?)?)?)?|ai[ \t]?|(?:assistant|ai)[ \t]?[:：])\Z",
    re.IGNORECASE,
)


def token_name(match: re.Match[str]) -> str:
    """Return the name of a token, such as "im_end"; that of `<channel|>` is "channel_end"."""
    if match[2]:
        return f"{match[2]}_end"
    name = (match[1] or match[3]).strip().replace("▁", "_").replace(" ", "_").lower()
    return f"/{name}" if match[0][2] == "/" else name


def read_token(state: FilterState, text: str, token: re.Match[str], end: int, must_decide: bool) -> int:
    """Leave out a token, with the text that it silences or the role that it names."""
    at, name = token.start(), token_name(token)
    if not must_decide and (MESSAGE_HEAD_PART.match(text, at, end) or CHANNEL_PART.match(text, at, end)):
        return WAIT
    state.output.omit(apart=True)
    ends = CHANNEL_ENDS if CHANNEL.match(text, at, end) else SILENT_UNTIL.get(name)
    if ends:
        state.enter("silenced_by_token")
        state.end_tokens = ends
        return token.end()
    head = MESSAGE_HEAD.match(text, at, end)
    return head.end() if head else token.end()


def skip_to_token(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int:
    """Skip text that a token silenced, up to one of `state.end_tokens`."""
    if text[at] != "<":
        token_at = text.find("<", at)
        return len(text) if token_at < 0 else token_at
    token = TOKEN.match(text, at, end)
    if token is None:
        return WAIT if TOKEN_PART.match(text, at, end) and not must_decide else at + 1
    if token_name(token) in state.end_tokens:
        state.leave()
    return token.end()


def read_bracket_token(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int | None:
    """Read one of Mistral's tokens in brackets; return None if the text holds none."""
    if at + 1 < end and text[at + 1] not in BRACKET_TOKEN_STARTS:
        return None
    window = text[at:end]
    for token in BRACKET_TOKENS:
        if window.startswith(token):
            state.output.omit(apart=True)
            if token in BRACKET_ENDS:
                state.enter("comment")
                state.end_mark, state.return_mode = BRACKET_ENDS[token], "line_start"
            return at + len(token)
        if token.startswith(window) and not must_decide:
            return WAIT
    return None


def read_role(state: FilterState, text: str, at: int, end: int, must_decide: bool) -> int | None:
    """Leave out the role at the very start of an answer, as in "assistant\\n"; return None for other text."""
    if state.speech.tail or state.has_visible or state.line_chars:
        return None
    match = ROLE.match(text, at, end)
    if match is None:
        return WAIT if ROLE_PART.match(text, at, end) and not must_decide else None
    return match.end()
