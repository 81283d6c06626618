"""Rehearsal: scripted callers that play a voice platform against any gateway and judge what comes back."""
