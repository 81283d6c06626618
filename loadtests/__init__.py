"""Load tests: tools that measure the speed, the capacity and the clean-up of any gateway from outside."""
