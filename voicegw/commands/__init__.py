"""The commands `voicegw doctor` and `voicegw new-agent`."""
