"""Serves a voice call on a websocket, on any platform: frames, turns, interruptions and the end."""
