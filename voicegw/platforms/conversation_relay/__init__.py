"""The codec of ConversationRelay, the protocol that Twilio and Telnyx share."""
