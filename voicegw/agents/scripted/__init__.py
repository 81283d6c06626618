"""Plays scripted agents without a model: for demos, tests and load tests."""
