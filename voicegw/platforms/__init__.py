"""One folder for each voice platform: frames, authentication, webhooks and settings."""
