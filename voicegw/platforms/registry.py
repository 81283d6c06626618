"""The table of every platform whose calls arrive on a websocket. A new platform is a folder and a line.

The configuration takes its sections from this table, and the application its endpoints and webhooks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from voicegw.platforms.context import PlatformKind
from voicegw.platforms.elevenlabs.endpoint import ELEVENLABS
from voicegw.platforms.retell.endpoint import RETELL
from voicegw.platforms.telnyx.endpoint import TELNYX
from voicegw.platforms.twilio.endpoint import TWILIO

PLATFORMS: Mapping[str, PlatformKind[Any]] = {
    platform.name: platform for platform in (TWILIO, TELNYX, RETELL, ELEVENLABS)
}
"""Every platform, by the name of its section."""
