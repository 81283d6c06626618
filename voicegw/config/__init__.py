"""The TOML configuration file: its sections, loading, checks, and the kinds of agents."""
