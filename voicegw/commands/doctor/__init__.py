"""The command `voicegw doctor`: examines agents and reports what an operator can do."""
