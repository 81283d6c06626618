"""Connects `docker agent serve api`: one session per call, and the events of each run."""
