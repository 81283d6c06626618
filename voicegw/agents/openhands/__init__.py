"""Connects OpenHands' agent server: one conversation per call, streamed over its websocket."""
