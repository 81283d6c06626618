"""The turn log, the metrics and the watchdog of the event loop: what operators see of a running gateway."""
