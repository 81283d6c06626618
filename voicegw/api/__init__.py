"""OpenAI's HTTP API: chat completions, the Responses API, models, health and metrics."""
