"""`pse-stream enhance IN… [-o OUT]`: denoise files."""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pse_stream.cli import flags
from pse_stream.cli.console import Console
from pse_stream.errors import AudioFileError, PseError, UsageError

if TYPE_CHECKING:
    from pse_stream.engines.contract import Engine
    from pse_stream.streaming.offline import Enhanced
    from pse_stream.streaming.settings import Settings

EXIT_PARTLY = 11  # some files of a batch failed
PIPE = Path("-")
NEW_STEM = "{stem}.clean{suffix}"  # beside the input when no -o is given


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One file to denoise."""

    source: Path
    target: Path
    reference: Path | None
    makes_folder: bool = False  # OUT was meant as a folder: make it


@click.command(name="enhance")
@click.argument("inputs", metavar="IN…", nargs=-1, required=True, type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "-o",
    "--output",
    type=click.Path(allow_dash=True),  # a word: as a Path it would lose the slash that marks a folder
    metavar="OUT",
    help="A file for one input, a folder for several; - is stdout. Without it: NAME.clean.EXT beside the input.",
)
@flags.engine
@flags.level
@flags.gate
@flags.profile
@flags.attenuation
@click.option(
    "--reference",
    type=click.Path(path_type=Path),
    metavar="CLEAN",
    help="The clean recording (for several inputs a folder with the same names): measure the result against it.",
)
@click.option(
    "--report",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write spectrograms (PNG) and a page with players (HTML) there.",
)
@click.option("--allow-truncated", is_flag=True, help="Take what is there of a file that is cut short.")
@click.option("-n", "--dry-run", is_flag=True, help="Only say what would be written.")
@flags.config
@flags.common()
def command(
    *,
    console: Console,
    inputs: tuple[Path, ...],
    output: str | None,
    reference: Path | None,
    report: Path | None,
    allow_truncated: bool,
    dry_run: bool,
    config: Path | None,
    **settings: Any,
) -> int:
    """Denoise sound files: any format, any rate, any length.

    The output has the input's rate, channels and length; the delay is taken out.

    \b
    Examples:
      pse-stream enhance noisy.wav
      pse-stream enhance *.flac -o clean/ --engine wiener
      pse-stream enhance noisy.wav --reference clean.wav --report report/
      ffmpeg -i talk.mp4 -f wav - | pse-stream enhance - -o talk.wav
    """
    jobs = plan(list(inputs), output, reference)
    stems = [job.source.stem for job in jobs]
    if report is not None and len(set(stems)) < len(stems):
        raise UsageError("two inputs of one name would share a report.", hint="Denoise them one after the other.")
    if dry_run:
        for job in jobs:
            console.result(f"{job.source} -> {job.target}")
        console.object({"would_write": [str(job.target) for job in jobs]})
        return 0
    from pse_stream.engines.gate.gated import use_gate
    from pse_stream.profiles.adapted import open_engine
    from pse_stream.streaming.configuration import resolve

    resolved = resolve(settings, config=config)
    wanted = resolved.settings
    for note in resolved.notes:
        console.warn(note)
    engine = open_engine(wanted.engine)
    use_gate(engine, wanted.gate)
    work = Work(console, engine, wanted, report=report, allow_truncated=allow_truncated)
    return work.all(jobs)


def plan(inputs: list[Path], output: str | None, reference: Path | None) -> list[Job]:
    """What becomes what, checked before anything is written.

    Raises
    ------
    UsageError
        If OUT cannot hold all of it, or two inputs would get one name.
    AudioFileError
        If a reference is missing.
    """
    several = len(inputs) > 1
    if PIPE in inputs and (several or output is None):
        raise UsageError("- (stdin) must be the only input and needs an output.", hint="Try: -o out.wav, or -o -")
    into_folder = output not in (None, "-") and (several or Path(output).is_dir() or output.endswith("/"))
    if several and output is not None and (output == "-" or Path(output).is_file()):
        raise UsageError(f'{len(inputs)} inputs need a folder; "{output}" is a file.', hint="Try: -o FOLDER/")
    jobs = []
    for source in inputs:
        if output is None:
            target = source.with_name(NEW_STEM.format(stem=source.stem, suffix=source.suffix))
        else:
            target = Path(output) / source.name if into_folder else Path(output)
        jobs.append(
            Job(
                source=source,
                target=target,
                reference=_reference(source, reference, several),
                makes_folder=output is not None and into_folder,
            )
        )
    names = [job.target for job in jobs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f'two inputs would become "{twice}".', hint="Denoise them into different folders.")
    return jobs


def _reference(source: Path, reference: Path | None, several: bool) -> Path | None:
    if reference is None:
        return None
    if several and not reference.is_dir():
        raise UsageError(f'several inputs need a folder of references; "{reference}" is none.')
    path = reference / source.name if reference.is_dir() else reference
    if not path.is_file():
        raise AudioFileError(f'there is no clean recording "{path}" for "{source}".', name="no_file")
    return path


class Work:
    """Denoise files one after another and say how it went."""

    def __init__(
        self, console: Console, engine: Engine, settings: Settings, *, report: Path | None, allow_truncated: bool
    ) -> None:
        self.console, self.engine, self.settings = console, engine, settings
        self.report, self.allow_truncated = report, allow_truncated

    def all(self, jobs: list[Job]) -> int:
        """Every job; one that fails does not stop the others. The exit code."""
        for folder in {job.target.parent for job in jobs if job.makes_folder}:
            _make(folder)
        self.console.detail(f"engine {self.engine.info.id} ({self.engine.info.title})")
        results, failed = [], []
        for number, job in enumerate(jobs, start=1):
            name = "stdin" if job.source == PIPE else job.source.name
            title = name if len(jobs) == 1 else f"[{number}/{len(jobs)}] {name}"
            try:
                results.append(self.one(job, title))
            except PseError as error:
                if len(jobs) == 1:
                    raise
                failed.append((job, error))
                self.console.warn(str(error))
        self.console.object({"files": results, "failed": [_failure(job, error) for job, error in failed]})
        if not failed:
            return 0
        self.console.note(
            f"{len(failed)} of {len(jobs)} files failed: {', '.join(str(job.source) for job, _ in failed)}"
        )
        return EXIT_PARTLY if results else failed[0][1].exit_code

    def one(self, job: Job, title: str) -> dict[str, Any]:
        """One job; what to print about it as JSON."""
        from pse_stream.streaming.offline import enhance_file

        with _from_pipe(job.source) as source, _to_pipe(job.target) as target, progress(self.console, title) as step:
            done = enhance_file(
                source,
                target,
                self.engine,
                level=self.settings.level,
                attenuation_db=self.settings.attenuation_db,
                allow_truncated=self.allow_truncated,
                progress=step,
            )
            scores = self._scores(job, done)
            page = self._page(job, done, scores)
        self._tell(job, done, scores, page)
        return _as_json(job, done, scores, page)

    def _scores(self, job: Job, done: Enhanced) -> dict[str, Any]:
        if job.reference is None:
            return {}
        from pse_stream.streaming.metrics import compare_files

        return compare_files(noisy=done.source, enhanced=done.target, clean=job.reference)

    def _page(self, job: Job, done: Enhanced, scores: dict[str, Any]) -> Path | None:
        if self.report is None:
            return None
        from pse_stream.streaming.report import write_report

        return write_report(self.report, done, reference=job.reference, scores=scores)

    def _tell(self, job: Job, done: Enhanced, scores: dict[str, Any], page: Path | None) -> None:
        if job.target != PIPE:
            self.console.result(f"{done.target}")
        level = self.engine.info.levels[done.level].name
        self.console.note(
            f"  {_clock(done.seconds)} of sound in {done.elapsed_s:.1f} s ({done.times_real_time:.0f} x real time), "
            f"engine {done.engine} level {done.level} ({level}), noise floor {_level(done.floor_in_db)} "
            f"-> {_level(done.floor_out_db)}; "
            f"live this would be {done.latency_ms:.0f} ms late"
        )
        if done.truncated:
            self.console.warn(f"{done.truncated}.")
        if done.bad_samples:
            self.console.warn(f"{done.bad_samples} samples were NaN or Inf and became silence.")
        if done.limited_hops:
            self.console.detail(f"  the limiter held {done.limited_hops} hops below -1 dBFS")
        for name, (before, after) in scores.items():
            self.console.result(f"  {name:<8} {_figure(before)} -> {_figure(after)}")
        if page is not None:
            self.console.note(f"  report: {page}")


def _as_json(job: Job, done: Enhanced, scores: dict[str, Any], page: Path | None) -> dict[str, Any]:
    return {
        "source": str(job.source),
        "target": str(job.target),
        "engine": done.engine,
        "level": done.level,
        "sample_rate": done.sample_rate,
        "channels": done.channels,
        "frames": done.frames,
        "latency_ms": done.latency_ms,
        "floor_in_db": done.floor_in_db,
        "floor_out_db": done.floor_out_db,
        "bad_samples": done.bad_samples,
        "limited_hops": done.limited_hops,
        "truncated": done.truncated or None,
        "scores": {name: {"noisy": before, "enhanced": after} for name, (before, after) in scores.items()} or None,
        "report": str(page) if page is not None else None,
        # Everything that two runs may differ in stands here.
        "timing": {
            "elapsed_ms": round(1000 * done.elapsed_s, 3),
            "cpu_ms": round(1000 * done.cpu_s, 3),
            "times_real_time": round(done.times_real_time, 2),
        },
    }


def _failure(job: Job, error: PseError) -> dict[str, Any]:
    return {"source": str(job.source), "name": error.name, "message": error.text, "exit_code": error.exit_code}


@contextlib.contextmanager
def progress(console: Console, title: str) -> Iterator[Callable[[int, int], None]]:
    """A bar with the time left on a screen, a line for every 10 % elsewhere, nothing with `--quiet`."""
    if console.live:
        with click.progressbar(length=1, label=title, file=sys.stderr, show_eta=True, width=30) as bar:

            def redraw(done: int, total: int) -> None:
                bar.length = total
                bar.update(done - bar.pos)

            yield redraw
        return
    said, began = 0, time.monotonic()

    def line(done: int, total: int) -> None:
        nonlocal said
        tenth = 10 * done // max(total, 1)
        if tenth > said and time.monotonic() - began > 1.0:  # nobody needs ten lines about one second
            said = tenth
            console.note(f"{title}: {10 * tenth} %")

    yield line


@contextlib.contextmanager
def _from_pipe(source: Path) -> Iterator[Path]:
    """`-`: all of stdin in a temporary file, since sound files are not read front to back."""
    if source != PIPE:
        yield source
        return
    with tempfile.NamedTemporaryFile(prefix="pse-stream-", suffix=".in") as spool:
        shutil.copyfileobj(sys.stdin.buffer, spool)
        spool.flush()
        yield Path(spool.name)


@contextlib.contextmanager
def _to_pipe(target: Path) -> Iterator[Path]:
    """`-`: a temporary WAV file, copied to stdout when it is whole."""
    if target != PIPE:
        yield target
        return
    with tempfile.TemporaryDirectory(prefix="pse-stream-") as folder:
        path = Path(folder) / "out.wav"
        yield path
        with path.open("rb") as whole:
            shutil.copyfileobj(whole, sys.stdout.buffer)
            sys.stdout.buffer.flush()


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AudioFileError(
            f'the folder "{folder}" cannot be made: {error.strerror}.', name="unwritable", hint="Choose another: -o"
        ) from error


def _clock(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d} min"


def _level(db: float | None) -> str:
    return "silent" if db is None else f"{db:.0f} dBFS"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
