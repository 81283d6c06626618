"""Connects Retell's custom LLM websocket: its frames, its webhook, its settings and its endpoint."""
