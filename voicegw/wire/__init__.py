"""Pure codecs: bytes of one protocol in, our words out, and back. No I/O, no clock."""
