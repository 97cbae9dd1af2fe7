"""The tree of errors that a user may meet.

    PseError
      SpecError      a parameter that makes no sense (a sample rate, a window)
      ShapeError     an array of the wrong shape or type
      EngineError    an engine or model package that cannot be used
      AudioFileError a file that cannot be read or written
      DeviceError    an audio device or sound server
      ConfigError    a setting, configuration file or profile
      ControlError   the control channel
      UsageError     a command line that cannot mean anything
      LimitError     a limit asked for was not met
      BusyError      another instance runs under this name
      ConsentError   a person has not agreed to what would be kept

Every message says what was found, what was expected and what to do. `name` is stable and may be
relied on by scripts; `exit_code` is what the command line ends with (docs/cli.md).
Nothing heavy is imported here: the control client uses these classes too.
"""

from __future__ import annotations


class PseError(Exception):
    """Root of all errors that are the user's business, not a bug."""

    exit_code = 1
    name = "failed"

    def __init__(self, text: str, *, name: str | None = None, hint: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.hint = hint
        if name is not None:
            self.name = name

    def __str__(self) -> str:
        return f"{self.text} {self.hint}".strip()


class UsageError(PseError):
    """The command line cannot mean anything."""

    exit_code = 2
    name = "usage"


class SpecError(PseError):
    """A parameter outside what makes sense."""

    exit_code = 3
    name = "bad_value"


class ShapeError(PseError):
    """An array of the wrong shape or type."""

    exit_code = 3
    name = "bad_shape"


class ConfigError(PseError):
    """A setting, configuration file or profile that cannot be used."""

    exit_code = 3
    name = "config"


class AudioFileError(PseError):
    """An audio file that cannot be read or written."""

    exit_code = 3
    name = "audio_file"


class DeviceError(PseError):
    """An audio device or sound server that is missing, busy, refused or looped."""

    exit_code = 4
    name = "device"


class EngineError(PseError):
    """An engine or model package that is missing, damaged or failing."""

    exit_code = 5
    name = "engine"


class ControlError(PseError):
    """The control channel gave no answer or refused."""

    exit_code = 6
    name = "control"


class LimitError(PseError):
    """A limit that was asked for was not met."""

    exit_code = 7
    name = "limit"


class BusyError(PseError):
    """Another instance runs under this name."""

    exit_code = 8
    name = "busy"


class ConsentError(PseError):
    """A person has not agreed to what would be kept; nothing was written."""

    exit_code = 10
    name = "consent"
