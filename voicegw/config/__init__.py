"""The TOML configuration file as a whole: loading, checks, and the kinds of agents."""
