"""Sound files in and out: any format of libsndfile, in blocks, and never half a file under its final name.

A file that holds less than its header says, or cannot be decoded to its end, is refused by name: a denoiser that
quietly shortens a recording loses somebody's words.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import soundfile

from pse_stream.dsp.spec import Float32s
from pse_stream.errors import AudioFileError

#: Endings that libsndfile does not know by themselves: (format, subtype or None).
EXTRA_ENDINGS: dict[str, tuple[str, str | None]] = {
    ".aif": ("AIFF", None),
    ".aifc": ("AIFF", None),
    ".oga": ("OGG", None),
    ".opus": ("OGG", "OPUS"),
    ".wave": ("WAV", None),
}
MP3_SLACK_FRAMES = 2 * 1152  # an MP3 header counts whole packets; two of them may be padding
WAV_LIMIT_BYTES = 2**32 - 2**20  # the sizes in a WAV header have 32 bits; past this RF64 is written
UNKNOWN_SIZES = frozenset({0, 2**32 - 1, 2**31 - 1})  # what programs put there that write to a pipe
#: libsndfile's notes on a file that stops early; WAV and AIFF give the size claimed and the size found.
SIZE_NOTE = re.compile(r"(?:data|SSND)\s*:\s*(\d+) \(should be (\d+)\)")
OGG_NOTE = "lacks an end-of-stream bit"


class SoundReader:
    """Read one sound file from start to end.

    Parameters
    ----------
    path : Path
    allow_truncated : bool
        Take what is there when the file stops early (`truncated` says so afterwards) instead of refusing it.

    Raises
    ------
    AudioFileError
        If the file is missing, not sound, empty, damaged or cut short.
    """

    def __init__(self, path: Path, *, allow_truncated: bool = False) -> None:
        self.path, self.allow_truncated = path, allow_truncated
        self._file = _open(path)
        self.sample_rate: int = self._file.samplerate
        self.channels: int = self._file.channels
        self.frames: int = self._file.frames
        self.format: str = self._file.format
        self.subtype: str = self._file.subtype
        self.truncated = ""  # in words, once it is known
        try:
            if self.frames == 0:
                raise AudioFileError(
                    f'"{path}" holds no sound at all; expected at least one sample.',
                    name="empty_file",
                    hint="Record it again.",
                )
            self._check_header()
        except AudioFileError:
            self.close()
            raise

    def blocks(self, frames: int) -> Iterator[Float32s]:
        """The sound in pieces, (up to `frames`, channels) float32.

        Raises
        ------
        AudioFileError
            If the file cannot be decoded to its end.
        """
        done = 0
        while done < self.frames:
            try:
                block = self._file.read(min(frames, self.frames - done), dtype="float32", always_2d=True)
            except soundfile.SoundFileError:
                self._cut_short(done)
                return
            if len(block) == 0:
                break
            done += len(block)
            yield block
        if done < self.frames - (MP3_SLACK_FRAMES if self.format == "MP3" else 0):
            self._cut_short(done)

    def close(self) -> None:
        """Give the file back."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_header(self) -> None:
        notes = self._file.extra_info
        sizes = SIZE_NOTE.search(notes)
        if sizes is not None and int(sizes[1]) > int(sizes[2]) and int(sizes[1]) not in UNKNOWN_SIZES:
            self._cut_short(self.frames, claimed=self.frames * int(sizes[1]) / int(sizes[2]))
        elif self.format == "OGG" and OGG_NOTE in notes:
            self._cut_short(self.frames, claimed=None)

    def _cut_short(self, done: int, claimed: float | None = -1.0) -> None:
        """Refuse, or remember, that only `done` frames are there; `claimed` -1: as the header says, None: unknown."""
        wanted = self.frames if claimed == -1.0 else claimed
        of = "" if wanted is None else f" of {wanted / self.sample_rate:.2f}"
        self.truncated = f'"{self.path}" is cut short or damaged: {done / self.sample_rate:.2f}{of} s can be read'
        if not self.allow_truncated:
            raise AudioFileError(
                f"{self.truncated}; expected a whole file.",
                name="truncated",
                hint="Copy it again, or take what is there with --allow-truncated.",
            )


def _open(path: Path) -> Any:
    if not path.exists():
        raise AudioFileError(f'there is no file "{path}".', name="no_file", hint="Check the name and the folder.")
    if path.is_dir():
        raise AudioFileError(f'"{path}" is a folder; expected a sound file.', name="no_file", hint=f"Try: {path}/*.wav")
    if path.is_file() and path.stat().st_size == 0:
        raise AudioFileError(
            f'"{path}" is empty (0 bytes); expected a sound file.', name="empty_file", hint="Record or copy it again."
        )
    try:
        with path.open("rb"):
            pass
        return soundfile.SoundFile(str(path))
    except OSError as error:
        raise AudioFileError(
            f'"{path}" cannot be read: {error.strerror}.', name="unreadable", hint="Check its permissions."
        ) from error
    except (soundfile.SoundFileError, TypeError) as error:
        raise AudioFileError(
            f'"{path}" is not sound that can be decoded; expected WAV, FLAC, Ogg, Opus, MP3, AIFF or another '
            "format of libsndfile.",
            name="not_audio",
            hint="Convert it first, for example: ffmpeg -i FILE out.wav",
        ) from error


def target_format(target: Path, source: SoundReader) -> tuple[str, str]:
    """Format and subtype for `target`: its ending decides, and the source's sample type is kept where it can be.

    Raises
    ------
    AudioFileError
        If the ending names no format that can hold this sound.
    """
    ending = target.suffix.lower()
    known = soundfile.available_formats()
    file_format, subtype = EXTRA_ENDINGS.get(ending, (ending[1:].upper(), None))
    if file_format not in known or file_format == "RAW":
        raise AudioFileError(
            f'"{target}" ends in "{ending}", which is no sound format that can be written.',
            name="bad_format",
            hint="Use .wav, .flac, .ogg, .opus, .mp3 or .aiff.",
        )
    plain = source.subtype.startswith(("PCM_", "FLOAT", "DOUBLE"))
    if subtype is None and (plain or file_format == source.format):  # no coder of one format inside another
        subtype = source.subtype if soundfile.check_format(file_format, source.subtype) else None
    if subtype is None:
        subtype = soundfile.default_subtype(file_format)
    bytes_per_sample = 8  # the widest subtype: an upper bound is all that is wanted
    if file_format == "WAV" and source.frames * source.channels * bytes_per_sample > WAV_LIMIT_BYTES:
        file_format = "RF64"
    return file_format, subtype


class SoundWriter:
    """Write one sound file under a temporary name beside its final one; `commit` renames it.

    Used as a context: leaving without `commit` (an error, Ctrl-C) removes what was written.

    Raises
    ------
    AudioFileError
        If the folder, the format or the disk refuses.
    """

    def __init__(self, target: Path, *, sample_rate: int, channels: int, file_format: str, subtype: str) -> None:
        self.target = target
        self._frames = 0
        self._temporary: Path | None = None
        if target.is_dir():
            raise AudioFileError(f'"{target}" is a folder; expected a file name.', name="unwritable")
        try:
            handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
        except OSError as error:
            raise self._refused(error) from error
        os.close(handle)
        self._temporary = Path(name)
        try:
            self._file = soundfile.SoundFile(
                name, "w", samplerate=sample_rate, channels=channels, format=file_format, subtype=subtype
            )
        except (soundfile.SoundFileError, ValueError) as error:
            self._remove()
            raise AudioFileError(
                f'"{target}" cannot hold {channels} channels at {sample_rate} Hz as {file_format}/{subtype}.',
                name="bad_format",
                hint="Use .wav.",
            ) from error

    def write(self, samples: Float32s) -> None:
        """Append (n, channels) float32.

        Raises
        ------
        AudioFileError
            If the disk is full or fails.
        """
        try:
            self._file.write(samples)
        except (soundfile.SoundFileError, AssertionError, OSError) as error:
            raise self._refused(error) from error
        self._frames += len(samples)

    def commit(self) -> None:
        """Put the finished file under its name, replacing an older one in one step."""
        temporary = self._temporary
        if temporary is None:
            return
        try:
            self._file.close()
            # libsndfile keeps quiet when the last bytes or the header do not fit on the disk: look again.
            with soundfile.SoundFile(str(temporary)) as written:
                whole = written.frames >= self._frames
            if not whole:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, self.target)
        except (soundfile.SoundFileError, OSError) as error:
            raise self._refused(error) from error
        self._temporary = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._temporary is not None:
            with contextlib.suppress(soundfile.SoundFileError):
                self._file.close()
            self._remove()

    def _remove(self) -> None:
        if self._temporary is not None:
            self._temporary.unlink(missing_ok=True)
            self._temporary = None

    def _refused(self, error: BaseException) -> AudioFileError:
        """Why writing failed, in words; libsndfile says only that it did, so the disk is asked."""
        folder = self.target.parent
        code = error.errno if isinstance(error, OSError) else None
        free = _free_bytes(folder)
        if code == errno.ENOENT:
            why, hint = f'there is no folder "{folder}"', f"Make it: mkdir -p {folder}"
        elif code in (errno.EACCES, errno.EPERM, errno.EROFS):
            why, hint = f'the folder "{folder}" cannot be written to', "Choose another with -o."
        elif code == errno.ENOSPC or (free is not None and free < 1 << 20):
            why, hint = "the disk is full", "Free some space, or choose another folder with -o."
        else:
            why, hint = "the disk or a size limit refused", "Check free space and `ulimit -f`."
        return AudioFileError(
            f'"{self.target}" could not be written: {why}; nothing was left there.', name="unwritable", hint=hint
        )


def _free_bytes(folder: Path) -> int | None:
    try:
        status = os.statvfs(folder)
    except (OSError, AttributeError):
        return None
    return status.f_bavail * status.f_frsize


def _umask() -> int:
    """The process's file mask: a temporary file is private, a finished one is what the person's other files are."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def read_sound(path: Path) -> tuple[Float32s, int]:
    """All of a short file: (frames, channels) float32 and its rate in Hz.

    Raises
    ------
    AudioFileError
        As `SoundReader`.
    """
    with SoundReader(path) as reader:
        return np.concatenate(list(reader.blocks(1 << 16))), reader.sample_rate
