"""Connects Twilio's ConversationRelay: signatures, tickets, TwiML, webhooks and the websocket endpoint."""
