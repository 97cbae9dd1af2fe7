"""Give a running denoiser its control channel: the one call that `pse-stream run` makes."""

from __future__ import annotations

from pse_stream.control.audit import audit_path
from pse_stream.control.catalog import SystemCatalog
from pse_stream.control.desk import Desk
from pse_stream.control.instance import InstanceLock
from pse_stream.control.server import ControlServer
from pse_stream.streaming.denoiser import Denoiser


def control_server(denoiser: Denoiser, lock: InstanceLock, *, tcp: str | None = None) -> ControlServer:
    """A server for this denoiser, not started yet.

    Parameters
    ----------
    lock : InstanceLock
        Held by the caller, taken before the devices were opened.
    tcp : str or None
        `tcp://host:port` to be reachable there too.
    """
    desk = Desk(denoiser, SystemCatalog(denoiser, denoiser.device))
    return ControlServer(desk, instance=lock.instance, tcp=tcp, tap=denoiser.spectrum, audit=audit_path(), lock=lock)
