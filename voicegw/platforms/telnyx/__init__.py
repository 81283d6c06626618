"""Connects Telnyx's ConversationRelay: its settings and its websocket endpoint."""
