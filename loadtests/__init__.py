"""How fast is it, how much does it hold, and does it clean up? Tools that measure any gateway from outside."""
