"""Agents: one folder per protocol by which an agent is reached, and the parts that they share.

`client` holds the HTTP and websocket clients; `fallback` and `prompt_cache` wrap other agents. An agent
answers turns; it knows no platform.
"""
