"""Three fuzzers of a running gateway: HTTP requests, websocket frames, and the streams of agents."""
