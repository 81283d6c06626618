"""Agents: one file per protocol they are reached by."""
