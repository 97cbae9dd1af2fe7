"""The main job without a microphone: a recording through the live path in real time, and what came of it on disk."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from pse_stream.errors import AudioFileError, UsageError

if TYPE_CHECKING:
    from pse_stream.cli.console import Console
    from pse_stream.streaming.devices.base import Device
    from pse_stream.streaming.devices.file import FileDevice

RECORDING = "noisy.flac"


def bundled_recording() -> Path:
    """The noisy recording that comes with the program.

    Raises
    ------
    AudioFileError
        If this installation lacks it.
    """
    path = Path(__file__).resolve().parent.parent / "examples" / RECORDING
    if not path.is_file():
        raise AudioFileError(
            "this installation has no bundled recording.", name="no_file", hint="Name one: pse-stream run --play FILE"
        )
    return path


class Demonstration:
    """One recording, played once.

    Parameters
    ----------
    source : Path
    folder : Path
        Gets before.wav, after.wav and spectrogram.png.
    """

    def __init__(self, source: Path, folder: Path) -> None:
        self.source, self.folder = source, folder
        self.before, self.after = folder / "before.wav", folder / "after.wav"
        self.picture = folder / "spectrogram.png"
        self._device: FileDevice | None = None

    def device(self) -> Device:
        """The recording as a microphone, `after.wav` as the virtual one."""
        from pse_stream.streaming.devices.file import FileDevice

        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise AudioFileError(
                f'the folder "{self.folder}" cannot be made: {error.strerror}.',
                name="unwritable",
                hint="Choose: --save",
            ) from error
        self._device = FileDevice(self.source, self.after)
        return self._device

    def finish(self, console: Console) -> None:
        """Put the original beside the result, draw both, and say where they are.

        Raises
        ------
        AudioFileError
            If the recording could not be played to its end, or something cannot be written.
        """
        import soundfile

        from pse_stream.streaming.report import spectrograms
        from pse_stream.streaming.soundfiles import SoundReader, SoundWriter

        if self._device is not None and self._device.error is not None:
            raise self._device.error
        if self.source.suffix == ".wav":
            shutil.copyfile(self.source, self.before)
        else:
            with (
                SoundReader(self.source) as reader,
                SoundWriter(
                    self.before,
                    sample_rate=reader.sample_rate,
                    channels=reader.channels,
                    file_format="WAV",
                    subtype=reader.subtype if soundfile.check_format("WAV", reader.subtype) else "PCM_16",
                ) as writer,
            ):
                for block in reader.blocks(reader.sample_rate):
                    writer.write(block)
                writer.commit()
        console.result(f"before:      {self.before}")
        console.result(f"after:       {self.after}")
        try:
            self.picture.write_bytes(spectrograms({"before": self.before, "after": self.after}, self.source.name))
        except UsageError as error:
            console.warn(str(error))
        else:
            console.result(f"spectrogram: {self.picture}")
