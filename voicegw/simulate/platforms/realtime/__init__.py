"""The simulated client of the Realtime protocol."""
