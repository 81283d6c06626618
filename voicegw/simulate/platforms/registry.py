"""Every platform of `voicegw simulate`. A new platform is a file beside this one and one line here.

The command line, the runners and the tests take the platforms from this table.
"""

from __future__ import annotations

from collections.abc import Mapping

from voicegw.simulate.http_platform import HttpEntry
from voicegw.simulate.platform import WebSocketEntry
from voicegw.simulate.platforms.conversation_relay import TELNYX, TWILIO
from voicegw.simulate.platforms.elevenlabs import ELEVENLABS
from voicegw.simulate.platforms.realtime.client import REALTIME
from voicegw.simulate.platforms.retell import RETELL
from voicegw.simulate.platforms.speech_engine import SPEECH_ENGINE
from voicegw.simulate.platforms.vapi import VAPI

PLATFORMS: Mapping[str, WebSocketEntry | HttpEntry] = {
    entry.name: entry for entry in (TWILIO, TELNYX, RETELL, SPEECH_ENGINE, REALTIME, ELEVENLABS, VAPI)
}
"""By the name on the command line."""
