"""Tell systemd how we are (sd_notify): ready, alive, leaving. Does nothing where nobody asked.

A datagram to `$NOTIFY_SOCKET`; the protocol is on the man page sd_notify(3).
"""

from __future__ import annotations

import contextlib
import os
import socket


def notify(message: str) -> bool:
    """Send one message such as `READY=1`; True if it was sent."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]  # a name without a file, Linux only
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
        out.sendto(message.encode(), address)
        return True
    return False
