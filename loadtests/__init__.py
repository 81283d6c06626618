"""How fast is it, how much does it hold, does it clean up? Tools that measure any gateway from outside."""
