"""Adapts objects of Python agent frameworks: detects the framework, and asks by its API."""
