"""A network of a package, loaded, and one stream through it.

A session holds the weights and is shared by all streams; the state belongs to one. Arrays are bound once: each stream
has two bindings whose state inputs and outputs are swapped from hop to hop (ping-pong), so that no state is ever
copied.

ONNX Runtime is imported when a package is opened, not when this file is: listing engines stays cheap.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from pse_stream.dsp.spec import ENGINE_BINS, Complex64s, Float32s
from pse_stream.engines.package import SPECTRUM_SHAPE, Package, PackageLevel
from pse_stream.errors import EngineError

if TYPE_CHECKING:
    import onnxruntime

LATELY = 6  # sessions that outlive their last engine: that in use, one below it, and those that a person tries in turn

_lately: OrderedDict[bytes, onnxruntime.InferenceSession] = OrderedDict()  # by sha256 of the graph, oldest first
_opening = threading.Lock()


class Graph:
    """One level's network, loaded; holds no state of any stream."""

    def __init__(self, package: Package, level: PackageLevel) -> None:
        self.level = level
        self.where = f"package {package.folder}: {level.file}"
        self.session = open_session(package.content(level.file), self.where)
        self._check_names()

    def _check_names(self) -> None:
        """The graph has exactly the inputs and outputs that the description promises."""
        level = self.level
        promised: dict[str, tuple[int, ...]] = {level.input.name: level.input.shape}
        promised |= {state.input: state.shape for state in level.states} | dict.fromkeys(level.settings, (1,))
        _same(promised, self.session.get_inputs(), f"{self.where}: inputs")
        promised = {level.output: SPECTRUM_SHAPE}
        promised |= {state.output: state.shape for state in level.states}
        _same(promised, self.session.get_outputs(), f"{self.where}: outputs")


class GraphVoice:
    """One stream through one graph."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._spectrum = np.zeros(SPECTRUM_SHAPE, np.float32)  # (1, 257, 2) what the graph reads
        self._clean = np.zeros(SPECTRUM_SHAPE, np.float32)  # (1, 257, 2) what it writes
        self.noisy: Complex64s = self._spectrum.view(np.complex64).reshape(ENGINE_BINS)  # view
        self._clean_frame: Complex64s = self._clean.view(np.complex64).reshape(ENGINE_BINS)  # view
        # One pair per state: what the even hops read and the odd hops write, and the other way round.
        self._states = [
            (np.zeros(state.shape, np.float32), np.zeros(state.shape, np.float32)) for state in graph.level.states
        ]
        self._settings = {name: np.full(1, value, np.float32) for name, value in graph.level.settings.items()}
        self._bindings = (self._bind(0), self._bind(1))
        self._turn = 0
        self._run = graph.session.run_with_iobinding

    def _bind(self, turn: int) -> Any:
        level, binding = self.graph.level, self.graph.session.io_binding()
        bind_input(binding, level.input.name, self._spectrum)
        bind_output(binding, level.output, self._clean)
        for name, array in self._settings.items():
            bind_input(binding, name, array)
        for state, pair in zip(level.states, self._states, strict=True):
            bind_input(binding, state.input, pair[turn])
            bind_output(binding, state.output, pair[1 - turn])
        return binding

    def play(self, frame: Complex64s, out: Complex64s) -> None:
        """One frame; (257,) complex64 both, `out` may be `frame`."""
        self.noisy[:] = frame
        self._run(self._bindings[self._turn])
        self._turn = 1 - self._turn
        out[:] = self._clean_frame

    def reset(self) -> None:
        """Forget the past."""
        for pair in self._states:
            pair[self._turn].fill(0.0)

    def adopt(self, other: GraphVoice) -> None:
        """Forget the past, but for what both graphs mean alike: go on from where `other` is."""
        self.reset()
        theirs = other.shared()
        for name, array in self.shared().items():
            if name in theirs:
                array[:] = theirs[name]

    def is_part_of(self, other: GraphVoice) -> bool:
        """True if all that this graph remembers is in `other` too: it can go on from there and needs no warm-up."""
        theirs = other.shared()
        return all(state.shared and state.input in theirs for state in self.graph.level.states)

    def shared(self) -> dict[str, Float32s]:
        """The present arrays of the shared states, by input name."""
        pairs = zip(self.graph.level.states, self._states, strict=True)
        return {state.input: pair[self._turn] for state, pair in pairs if state.shared}


def graphs_of(package: Package) -> tuple[Graph, ...]:
    """The graphs of all levels, then those of the specialists, which have the inputs and outputs of the first level.

    Raises
    ------
    EngineError
        As `Graph`.
    """
    told, members = package.description, package.description.ensemble
    specialists = members.specialists if members is not None else ()
    first = told.levels[0]
    levels = [*told.levels, *(msgspec.structs.replace(first, name=s.name, file=s.file) for s in specialists)]
    return tuple(Graph(package, level) for level in levels)


def check_golden(package: Package, graphs: tuple[Graph, ...], *, max_frames: int | None = None) -> list[float]:
    """Play the golden frames and compare.

    Parameters
    ----------
    package : Package
    graphs : tuple of Graph
        One for each level, and for each specialist after them.
    max_frames : int, optional
        Play only so many; None plays all.

    Returns
    -------
    list of float
        For each level the relative error: |played - golden| / |golden|, root of sums of squares.

    Raises
    ------
    EngineError
        `engine_golden` if one is above the package's `golden_tolerance`.
    """
    errors = []
    for index, graph in enumerate(graphs):
        noisy, golden = (frames[:max_frames] for frames in package.golden(index))
        voice, played = GraphVoice(graph), np.zeros_like(noisy)
        for frame, out in zip(noisy, played, strict=True):
            voice.play(frame, out)
        error = float(np.linalg.norm(played - golden)) / max(float(np.linalg.norm(golden)), 1e-20)
        tolerance = package.description.golden_tolerance
        if not error <= tolerance:
            raise EngineError(
                f"{graph.where}: plays its golden frames with a relative error of {error:.2g}; expected at most "
                f"{tolerance:g}",
                hint="The package is wrong, or this build of ONNX Runtime is; get another package or update.",
                name="engine_golden",
            )
        errors.append(error)
    return errors


def open_session(graph: bytes, where: str) -> onnxruntime.InferenceSession:
    """A session on one thread that never spins; the same one for the same graph, if it was opened lately.

    Who goes back to an engine gets its weights as they lie in memory: opening them anew takes tens of milliseconds, and
    each time leaves some megabytes that the allocator cannot use again.

    Raises
    ------
    EngineError
        `engine_graph` if ONNX Runtime cannot load it; `where` begins the message.
    """
    import onnxruntime

    key = hashlib.sha256(graph).digest()
    with _opening:
        if key in _lately:
            _lately.move_to_end(key)
            return _lately[key]
    try:
        session = onnxruntime.InferenceSession(graph, _options(), providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors have no common public class
        reason = " ".join(str(error).split())[:300]
        raise EngineError(
            f"{where}: ONNX Runtime {onnxruntime.__version__} cannot load it: {reason}",
            hint="The file is damaged or needs operators that this version lacks; update onnxruntime or export again.",
            name="engine_graph",
        ) from error
    with _opening:
        _lately[key] = session
        while len(_lately) > LATELY:
            _lately.popitem(last=False)
    return session


def _options() -> onnxruntime.SessionOptions:
    """One thread that never spins: the default pool burns a core between hops and saves nothing within one."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 4  # what matters comes back as an exception
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    # Not "session.set_denormal_as_zero": it changes the floating-point mode of the thread that opens the session and of
    # all that this one starts later, for everybody's arithmetic. Frames of 1e-2 to 1e-41 cost the same without it.
    return options


def _same(promised: dict[str, tuple[int, ...]], found: Any, where: str) -> None:
    """Compare names and shapes; a free (named) size of the graph fits any promise."""
    names = sorted(node.name for node in found)
    if names != sorted(promised):
        raise EngineError(f"{where} are {names}; the description promises {sorted(promised)}", name="engine_graph")
    for node in found:
        shape = promised[node.name]
        fits = len(shape) == len(node.shape) and all(
            not isinstance(size, int) or size == wanted for size, wanted in zip(node.shape, shape, strict=True)
        )
        if not fits or node.type != "tensor(float)":
            raise EngineError(
                f"{where}: {node.name!r} is {node.type} {node.shape}; the description promises tensor(float) "
                f"{list(shape)}",
                name="engine_graph",
            )


def bind_input(binding: Any, name: str, array: Float32s) -> None:
    """Let the graph read this very memory; whoever calls keeps the array alive."""
    binding.bind_input(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)


def bind_output(binding: Any, name: str, array: Float32s) -> None:
    """Let the graph write this very memory; whoever calls keeps the array alive."""
    binding.bind_output(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
