"""Connects the API server of Hermes Agent: one run, or one chat completion, per turn."""
