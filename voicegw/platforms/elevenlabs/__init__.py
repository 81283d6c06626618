"""Connects ElevenLabs' Speech Engine websocket: its frames, its tokens, its settings and its endpoint."""
