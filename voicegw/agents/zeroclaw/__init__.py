"""Connects the gateway of ZeroClaw: one chat websocket per call."""
