"""Serves the text part of OpenAI's Realtime protocol, for programs that hold an API key."""
