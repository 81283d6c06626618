"""Access control: API keys, authentication, rate limits and client addresses; pure."""
