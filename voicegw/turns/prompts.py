"""Prompts in place of words of the caller, for agents that need a user message in every turn."""

from __future__ import annotations

SILENCE_PROMPT = "(The caller has been silent for a while. Say something short to bring them back.)"
"""The prompt when the caller says nothing after an answer."""
CALL_START_PROMPT = "(The call has begun, and nobody has spoken yet.)"
"""The prompt at the start of a call, before the caller spoke."""
