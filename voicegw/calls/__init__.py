"""Voice calls on websockets, on any platform: frames, turns, interruptions and the end of a call."""
