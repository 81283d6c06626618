"""One turn: the agent's run, its event log and timings, and the gateway's own phrases around it."""
