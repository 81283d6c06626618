"""The callers that locust runs: calls on every platform, with the times and the failures of their turns."""
