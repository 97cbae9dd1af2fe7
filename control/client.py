"""Control a running denoiser from a program: the public Python interface.

    from pse_stream.control.client import ControlClient

    with ControlClient() as denoiser:                  # this user's, on this machine
        denoiser.set_attenuation(18.0)
        applied = denoiser.toggle_bypass()
        print(applied.hop_index, denoiser.status()["state"])

Every call is answered, refused by name, or ends in time. A request that got no answer is sent again under the same
id, which the server carries out once only, so that a toggle never toggles twice. Imports pyzmq and the standard
library, nothing of sound.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from pse_stream.control.connection import Connection


class Applied(NamedTuple):
    """A change that took effect."""

    revision: int  # counts accepted changes
    hop_index: int  # the first hop (8 ms) that ran with it
    changed: dict[str, tuple[Any, Any]]  # setting: (old, new); empty if it was so already


class ControlClient(Connection):
    """A connection to one denoiser with a method for everything it can do; may be shared by threads.

    Parameters
    ----------
    address : str, Address or None
        `tcp://host[:port]`; None: this machine.
    instance : str
        Which denoiser of this machine.
    timeout_s, retries
        How long to wait for one answer before asking again, and how often to ask again.
    key, server_key : str or None
        For `tcp://`: our key by name, and the server's public key; see `pse-stream keys`.
    name : str
        Shown in the server's log.
    """

    def _change(self, method: str, if_revision: int | None = None, **params: Any) -> Applied:
        if if_revision is not None:
            params["if_revision"] = if_revision
        said = self.call(method, **params)
        changed = {name: (old, new) for name, (old, new) in said["changed"].items()}
        return Applied(said["revision"], said["hop_index"], changed)

    # -- questions --------------------------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """The whole snapshot: state and reason, settings, latency, meters, counters, load."""
        return dict(self.call("status"))

    def devices(self) -> dict[str, Any]:
        """Microphones (`inputs`) and outputs (`outputs`)."""
        return dict(self.call("devices.list"))

    def engines(self) -> list[dict[str, Any]]:
        """Engines with levels, latency, cost and quality."""
        return list(self.call("engine.list"))

    def profiles(self) -> dict[str, Any]:
        """Profiles, and the one in use."""
        return dict(self.call("profile.list"))

    def config(self) -> dict[str, Any]:
        """Every setting with the place it came from."""
        return dict(self.call("config.get"))

    def doctor(self) -> dict[str, Any]:
        """What is wrong with the sound path."""
        return dict(self.call("doctor"))

    # -- changes ----------------------------------------------------------------------------------------------------
    # Each is answered when it took effect; with `if_revision`, only if nobody else changed anything since.

    def set_engine(self, engine: str, *, if_revision: int | None = None) -> Applied:
        """Change to another engine, cross-faded."""
        return self._change("engine.set", if_revision, id=engine)

    def set_level(self, level: int, *, if_revision: int | None = None) -> Applied:
        """Change the quality step (0 is the cheapest); the governor may go below it under load."""
        return self._change("level.set", if_revision, level=level)

    def pin_level(self, level: int | None = None, *, if_revision: int | None = None) -> Applied:
        """Stay on a step; None is the present one."""
        return self._change("level.pin", if_revision, level=level)

    def release_level(self, *, if_revision: int | None = None) -> Applied:
        """Give the choice of the step back to the governor."""
        return self._change("level.release", if_revision)

    def set_governor(
        self, mode: Literal["off", "auto", "eco", "quality"], *, if_revision: int | None = None
    ) -> Applied:
        """How eagerly the level follows the load."""
        return self._change("governor.set", if_revision, mode=mode)

    def set_gate(self, mode: Literal["auto", "off"], *, if_revision: int | None = None) -> Applied:
        """Let the gate choose specialists, or switch it off."""
        return self._change("gate.set", if_revision, mode=mode)

    def pin_specialist(self, specialist: str, *, if_revision: int | None = None) -> Applied:
        """Use one specialist, whoever speaks."""
        return self._change("gate.pin", if_revision, specialist=specialist)

    def use_profile(self, profile: str | None, *, if_revision: int | None = None) -> Applied:
        """Use a person's profile; None is nobody."""
        return self._change("profile.use", if_revision, name=profile)

    def set_attenuation(self, db: float, *, if_revision: int | None = None) -> Applied:
        """Let noise be turned down by at most this many dB: 0 hears everything, 100 is no limit."""
        return self._change("attenuation.set", if_revision, db=db)

    def set_devices(
        self,
        microphone: str | None = None,
        output: str | None = None,
        channels: Literal["auto", "left", "right", "mix"] | None = None,
        *,
        if_revision: int | None = None,
    ) -> Applied:
        """Change microphone or output by name, or "auto", or the side that is heard; None leaves one as it is."""
        return self._change("devices.set", if_revision, input=microphone, output=output, channels=channels)

    def set_bypass(self, on: bool, *, if_revision: int | None = None) -> Applied:
        """Hear the microphone as it is, with the same delay."""
        return self._change("bypass.set", if_revision, on=on)

    def toggle_bypass(self, *, if_revision: int | None = None) -> Applied:
        """The other way round."""
        return self._change("bypass.toggle", if_revision)

    def set_mute(self, on: bool, *, if_revision: int | None = None) -> Applied:
        """Digital silence."""
        return self._change("mute.set", if_revision, on=on)

    def toggle_mute(self, *, if_revision: int | None = None) -> Applied:
        """The other way round."""
        return self._change("mute.toggle", if_revision)

    def start_recording(self, *, if_revision: int | None = None) -> Applied:
        """Write this session to disk; the profile must hold consent."""
        return self._change("record.start", if_revision)

    def stop_recording(self, *, if_revision: int | None = None) -> Applied:
        """End the recording."""
        return self._change("record.stop", if_revision)

    def patch_config(self, *, if_revision: int | None = None, **settings: Any) -> Applied:
        """Change several settings; all are checked before the first is changed."""
        return self._change("config.patch", if_revision, **settings)

    def validate_config(self, **settings: Any) -> None:
        """Raise what `patch_config` would raise; change nothing."""
        self.call("config.validate", **settings)

    def shutdown(self) -> Applied:
        """Stop the denoiser; its devices are put back."""
        return self._change("shutdown")
