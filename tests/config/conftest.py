"""Fixtures of the configuration tests."""

from __future__ import annotations

from tests.config.files import file

__all__ = ["file"]
