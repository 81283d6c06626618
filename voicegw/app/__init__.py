"""The composition root: builds the application from the configuration, starts it and shuts it down."""

from voicegw.app.create import create_app

__all__ = ["create_app"]
