"""The served processes: uvicorn's server, workers and their supervisor, reloads, and signals."""
