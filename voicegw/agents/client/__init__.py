"""The HTTP and websocket clients that all agents share."""
