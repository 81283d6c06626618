"""The configuration keys that belong to no single agent or platform, their types, and the error sentences."""
