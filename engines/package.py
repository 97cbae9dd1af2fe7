"""A model package on disk: a flat folder of data, never of code.

    model.toml   what it is: id, grid, licences, levels with their graphs, measured quality, sha256 of every other file
    *.onnx       one graph per level, or one for all (`settings`); what training did to the input is inside it
    golden.npz   a second of frames and what each level must make of them
    card.md      data, recipe, measured quality, limits, known failures

Reading checks everything that can be checked without running the graph; `onnx.py` runs it. Nothing is unpickled and
nothing is imported, links are refused and every file is named by its hash: a folder from a stranger can disappoint,
not harm. Writing is the other half of the same file, so that the two cannot drift.
"""

from __future__ import annotations

import io
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import msgspec
import numpy as np

from pse_stream.dsp.spec import ENGINE_BINS, ENGINE_RATE, HOP_MS, Complex64s
from pse_stream.engines.contract import EngineInfo, Level
from pse_stream.engines.package_folder import PackageFolder
from pse_stream.errors import EngineError

SCHEMA = 1
DESCRIPTION_FILE = "model.toml"
GOLDEN_FILE = "golden.npz"
CARD_FILE = "card.md"
SPECTRUM_SHAPE = (1, ENGINE_BINS, 2)  # batch, bins, (re, im): how a graph sees a frame
MAX_FILE_BYTES = 512 * 2**20  # no network that runs within 8 ms is larger; stops a folder from filling the memory
MAX_STATE_FLOATS = 2**24  # 64 MiB of state, likewise
ENSEMBLE_KINDS = ("gate", "moderator")
GOLDEN_TOLERANCE = 1e-3  # relative; float32 on other processors differs by some 1e-6, a wrong graph by 1e-1

_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Tensor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A float32 input of a graph."""

    name: str
    shape: tuple[int, ...]


class State(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a graph remembers from hop to hop: an input that is fed with an output of the hop before; zeros at first."""

    input: str
    output: str
    shape: tuple[int, ...]
    shared: bool = False  # means the same in every level that has a shared state of this input name


class PackageLevel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One quality step: a graph, or a setting of one that several levels have in common."""

    name: str
    file: str
    macs_per_second: float  # multiply-adds
    parameters: int
    input: Tensor = Tensor("spec", SPECTRUM_SHAPE)
    output: str = "spec_out"
    states: tuple[State, ...] = ()
    settings: dict[str, float] = {}  # inputs of shape (1,) that hold still: what makes this level of a common graph


class Specialist(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One member of an ensemble: a graph with the inputs, outputs and states of the level's."""

    name: str  # what a person pins
    file: str
    title: str = ""  # what it was made for


class Ensemble(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What makes a package an ensemble: specialists and how one is chosen. The level's graph is the generalist.

    The gate is the voice network's fingerprint and a file with the head; a moderator is a graph that scores outputs.
    """

    kind: str  # "gate" or "moderator"
    chooses_by: str  # for people: "SNR", "gender", "voice", …
    judge: str  # file: the gate's head (gate.npz), or the moderator's graph
    voice: str = ""  # fingerprint of the voice network whose readings the head reads; empty for a moderator
    specialists: tuple[Specialist, ...]


class Description(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The contents of model.toml; an unknown key is an error, because a misspelt one would be."""

    schema: int
    id: str
    version: str
    title: str
    family: str
    sample_rate: int = ENGINE_RATE  # Hz
    n_bins: int = ENGINE_BINS
    hop_ms: float = HOP_MS
    lookahead_hops: int = 0
    licence_weights: str
    licence_code: str
    licence_data: tuple[str, ...]
    golden_tolerance: float = GOLDEN_TOLERANCE  # int8 kernels round differently from processor to processor
    levels: tuple[PackageLevel, ...]  # cheapest first
    ensemble: Ensemble | None = None  # played by specialists.py
    quality: dict[str, float] = {}  # measured figures by name
    provenance: dict[str, str | int | float | bool] = {}  # recipe, code version, parent package, …
    files: dict[str, str] = {}  # name: sha256 of every file but model.toml


@dataclass(frozen=True, slots=True)
class Package:
    """A folder whose description was read and found sound."""

    folder: Path
    description: Description
    card: str  # Markdown

    @property
    def info(self) -> EngineInfo:
        """What the engine that plays this package says of itself."""
        told = self.description
        return EngineInfo(
            id=told.id,
            title=told.title,
            version=told.version,
            family=told.family,
            levels=tuple(
                Level(name=level.name, macs_per_second=level.macs_per_second, parameters=level.parameters)
                for level in told.levels
            ),
            lookahead_hops=told.lookahead_hops,
            licence=told.licence_weights,
            card=self.card,
            quality=dict(told.quality),
        )

    def content(self, name: str) -> bytes:
        """The bytes of one of its files, checked against their hash.

        Raises
        ------
        EngineError
            `engine_package` if the file is missing, too large or a link; `engine_hash` if it was changed.
        """
        return _folder(self.folder).checked(name, self.description.files[name])

    def golden(self, level: int) -> tuple[Complex64s, Complex64s]:
        """A second of frames and what this level must make of them; the specialists follow after the levels.

        Returns
        -------
        (n_frames, 257) complex64, (n_frames, 257) complex64
            Noisy, clean.

        Raises
        ------
        EngineError
            If the file is damaged or not of this form.
        """
        data = io.BytesIO(self.content(GOLDEN_FILE))
        names = (NOISY_ARRAY, clean_array(level))
        try:
            with np.load(data, allow_pickle=False) as arrays:
                noisy, clean = (arrays[name] for name in names)
        except (OSError, ValueError, KeyError, BadZipFile) as error:
            raise _broken(self.folder, f"{GOLDEN_FILE} cannot be read: {error}; expected arrays {names}") from error
        if not (noisy.dtype == clean.dtype == np.complex64 and noisy.shape == clean.shape == (len(noisy), ENGINE_BINS)):
            raise _broken(
                self.folder,
                f"{GOLDEN_FILE} holds {noisy.dtype} {noisy.shape} and {clean.dtype} {clean.shape}; "
                f"expected complex64 (frames, {ENGINE_BINS}) twice",
            )
        return noisy, clean

    def verify(self) -> None:
        """Check the hash of every file.

        Raises
        ------
        EngineError
            As `content`.
        """
        for name in self.description.files:
            self.content(name)


NOISY_ARRAY = "noisy"


def clean_array(level: int) -> str:
    """Name of an array in golden.npz: what level `level` (counted from 0) must give."""
    return f"clean_{level}"


def read_package(folder: Path) -> Package:
    """Read a package's description and card; hashes are checked as files are used, or all by `Package.verify`.

    Raises
    ------
    EngineError
        `engine_package`: something is missing, malformed or contradicts itself; `engine_schema`: written by a newer
        version; `engine_grid`: made for another spectral grid.
    """
    if not folder.is_dir():
        raise _broken(folder, "there is no such folder; expected a model package")
    description = _described(folder, _folder(folder).table(SCHEMA))
    for name in description.files:
        _folder(folder).plain_file(name)
    return Package(folder, description, _card(folder))


def _described(folder: Path, table: dict[str, Any]) -> Description:
    """The typed description, every value within its bounds."""
    try:
        told = msgspec.convert(table, Description, strict=True)
    except msgspec.ValidationError as error:
        raise _broken(folder, f"{DESCRIPTION_FILE}: {error}") from error
    check_description(told, folder)
    return told


def check_description(told: Description, folder: Path) -> None:
    """Refuse what is well-formed but cannot be.

    Raises
    ------
    EngineError
        As `read_package`; `folder` only serves the message.
    """
    grid = (told.sample_rate, told.n_bins, told.hop_ms)
    if grid != (ENGINE_RATE, ENGINE_BINS, HOP_MS):
        raise EngineError(
            f"{folder / DESCRIPTION_FILE}: made for {grid[0]} Hz, {grid[1]} bins, hops of {grid[2]:g} ms; "
            f"expected {ENGINE_RATE} Hz, {ENGINE_BINS} bins, {HOP_MS:g} ms",
            hint="Train the network on this grid (docs/engines.md).",
            name="engine_grid",
        )
    for wrong, sentence in (
        (not _ID.fullmatch(told.id), f"id = {told.id!r}; expected lower-case letters, digits and '-', at most 40"),
        (told.lookahead_hops < 0, f"lookahead_hops = {told.lookahead_hops}; expected 0 or more"),
        (not told.levels, "there are no [[levels]]; expected at least one"),
        (not 0 < told.golden_tolerance <= 0.1, f"golden_tolerance = {told.golden_tolerance}; expected up to 0.1"),
        (len({level.name for level in told.levels}) < len(told.levels), "two levels have the same name"),
        (not all(map(_shows_safely, _texts(told))), "a text holds control characters; expected plain text"),
    ):
        if wrong:
            raise _broken(folder, f"{DESCRIPTION_FILE}: {sentence}")
    for name, digest in told.files.items():
        if not _FILE_NAME.fullmatch(name) or name == DESCRIPTION_FILE:
            raise _broken(folder, f"{DESCRIPTION_FILE}: {name!r} in [files] is no plain file name; packages are flat")
        if not _SHA256.fullmatch(digest):
            raise _broken(folder, f"{DESCRIPTION_FILE}: the sha256 of {name} is {digest!r}; expected 64 hex digits")
    for name in (GOLDEN_FILE, CARD_FILE, *(level.file for level in told.levels), *_ensemble_files(told)):
        if name not in told.files:
            raise _broken(folder, f"{DESCRIPTION_FILE}: {name!r} is not in [files]; every file needs its sha256")
    for level in told.levels:
        _check_level(level, folder)
    if told.ensemble is not None:
        _check_ensemble(told, told.ensemble, folder)


def _texts(told: Description) -> list[str]:
    """Everything that may be shown to a person."""
    texts = [told.version, told.title, told.family, told.licence_weights, told.licence_code, *told.licence_data]
    texts += [level.name for level in told.levels]
    if told.ensemble is not None:
        texts += [told.ensemble.chooses_by, *(s.title for s in told.ensemble.specialists)]
    return [*texts, *told.quality, *told.provenance, *map(str, told.provenance.values())]


def _ensemble_files(told: Description) -> list[str]:
    return [] if told.ensemble is None else [told.ensemble.judge, *(s.file for s in told.ensemble.specialists)]


def _check_ensemble(told: Description, ensemble: Ensemble, folder: Path) -> None:
    names = [specialist.name for specialist in ensemble.specialists]
    for wrong, sentence in (
        (len(told.levels) != 1, f"an ensemble with {len(told.levels)} levels; expected one, the generalist"),
        (len(names) < 2, f"an ensemble of {len(names)}; expected two specialists at least"),
        (len(set(names)) < len(names), "two specialists have the same name"),
        (not all(map(_ID.fullmatch, names)), f"specialists {names}; expected lower-case letters, digits and '-'"),
        (bool({"auto", "off"} & set(names)), "a specialist is called auto or off, which means something else"),
        (ensemble.kind not in ENSEMBLE_KINDS, f"ensemble kind {ensemble.kind!r}; expected {ENSEMBLE_KINDS}"),
    ):
        if wrong:
            raise _broken(folder, f"{DESCRIPTION_FILE}: {sentence}")


def _check_level(level: PackageLevel, folder: Path) -> None:
    where = f"{DESCRIPTION_FILE}: level {level.name!r}"
    if level.input.shape != SPECTRUM_SHAPE:
        raise _broken(folder, f"{where}: input shape {level.input.shape}; expected {SPECTRUM_SHAPE} (1, bins, re/im)")
    inputs = [level.input.name, *level.settings, *(state.input for state in level.states)]
    outputs = [level.output, *(state.output for state in level.states)]
    if len(set(inputs)) < len(inputs) or len(set(outputs)) < len(outputs):
        raise _broken(folder, f"{where}: a name is used twice among {inputs} or {outputs}")
    for state in level.states:
        if not state.shape or min(state.shape) < 1 or np.prod(state.shape, dtype=float) > MAX_STATE_FLOATS:
            raise _broken(folder, f"{where}: state {state.input!r} has shape {state.shape}; expected sizes above 0")


def _folder(folder: Path) -> PackageFolder:
    return PackageFolder(folder, "package", DESCRIPTION_FILE, MAX_FILE_BYTES)


def _card(folder: Path) -> str:
    try:
        card = _folder(folder).content(CARD_FILE).decode()
    except UnicodeDecodeError as error:
        raise _broken(folder, f"{CARD_FILE} is not UTF-8: {error}") from error
    if not _shows_safely(card.replace("\n", "").replace("\r", "").replace("\t", "")):
        raise _broken(folder, f"{CARD_FILE} holds control characters; expected plain text")
    return card


def _shows_safely(text: str) -> bool:
    """No escape sequences: what a stranger wrote ends up on somebody's terminal."""
    return not any(unicodedata.category(character) in ("Cc", "Cf", "Cs") for character in text)


def _broken(folder: Path, sentence: str) -> EngineError:
    return _folder(folder).broken(sentence)
