"""Which call a request belongs to, what was said on it, and which agent answers."""
