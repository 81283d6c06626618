"""The command `voicegw simulate`: plays a voice platform against any gateway, and checks the frames."""
