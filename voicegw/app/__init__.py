"""The composition root: builds the gateway from the configuration."""

from voicegw.app.create import create_app

__all__ = ["create_app"]
