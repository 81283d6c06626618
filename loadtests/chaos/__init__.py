"""Experiments that break a part of the system while innocent callers talk, and count what these notice."""
