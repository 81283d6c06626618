"""Runs an agent written in Python in the gateway's process, also one made with a framework."""
