"""What agents are told that keep the conversation themselves: only what is new, and what was not heard.

Such an agent knows what it said; it cannot know that its caller hung on to three words of it. And one
that never saw the beginning of a conversation has to be told that first.
"""

from __future__ import annotations

SILENCE_PROMPT = "(The caller has been silent for a while. Say something short to bring them back.)"
CALL_START_PROMPT = "(The call has begun, and nobody has spoken yet.)"
