"""One simulated voice platform per module, each with its checklist."""
