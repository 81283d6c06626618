"""Callers that locust drives: calls of every platform, what goes wrong in them, and what was heard when."""
