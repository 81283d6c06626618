"""Formats that several parts share: JSON, server-sent events, request validation, OpenAI's objects; pure."""
