"""What rungs cost on this machine: measured, kept, doubted; which engines stand in; what the machine says of itself."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pse_stream.engines.bypass import BypassEngine
from pse_stream.engines.contract import Engine, EngineInfo, Level
from pse_stream.engines.registry import EngineEntry, registry
from pse_stream.streaming.calibration import Calibration
from pse_stream.streaming.cost_cache import CostCache, fingerprint, sound
from pse_stream.streaming.costs import Costs, Key
from pse_stream.streaming.devices.fake import FakeDevice
from pse_stream.streaming.governor import Hints
from pse_stream.streaming.ladder import candidates, rungs, stand_ins
from pse_stream.streaming.overseer import AFTER_S, WILD_S, Overseer
from pse_stream.streaming.pipeline import Pipeline
from pse_stream.streaming.runner import Report, Runner
from pse_stream.streaming.surroundings import POWER_S, Surroundings

from .stubs import Levels

GOOD = {"si_sdr_i": 4.0, "pesq": 1.6}
FAIR = {"si_sdr_i": 1.0, "pesq": 1.5}


def info(id: str, levels: int = 1, **rest: Any) -> EngineInfo:
    return EngineInfo(id=id, title=id, levels=tuple(Level(name=str(n)) for n in range(levels)), **rest)


def entry(id: str, origin: str = "package", **rest: Any) -> EngineEntry:
    return EngineEntry(id=id, origin=origin, info=info(id, **rest))  # type: ignore[arg-type]


# --- the cache ----------------------------------------------------------------------------------------------------


def test_costs_are_kept_for_one_engine_version_rate_and_machine(tmp_path: Path) -> None:
    cache = CostCache(48_000, tmp_path)
    assert cache.read("net", "v1") == {}
    cache.write("net", "v1", {("net", 0): 1.0, ("net", 1): 2.5, ("other", 0): 9.0})
    assert CostCache(48_000, tmp_path).read("net", "v1") == {("net", 0): 1.0, ("net", 1): 2.5}
    assert cache.read("net", "v2") == {}
    assert CostCache(16_000, tmp_path).read("net", "v1") == {}
    cache.forget("net", "v1")
    assert cache.read("net", "v1") == {}


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"schema": 99, "ms_per_hop": {}}', '{"schema": 1, "ms_per_hop": 3}', "\x00\x01", '{"schema": 1}'],
)
def test_a_damaged_cache_is_none_and_is_written_anew(tmp_path: Path, content: str) -> None:
    cache = CostCache(48_000, tmp_path)
    cache.path.parent.mkdir(parents=True, exist_ok=True)
    cache.path.write_text(content)
    assert cache.read("net", "v1") == {}
    cache.write("net", "v1", {("net", 0): 1.0})
    assert cache.read("net", "v1") == {("net", 0): 1.0}


@pytest.mark.parametrize("row", [[-1.0], [0.0], [1e9], ["x"], [None], [3.0, 1.0], "1.0", {}])
def test_what_cannot_be_is_not_believed(tmp_path: Path, row: object) -> None:
    cache = CostCache(48_000, tmp_path)
    cache.write("net", "v1", {("net", 0): 1.0})
    name = next(iter(json.loads(cache.path.read_text())["ms_per_hop"]))
    cache.path.write_text(json.dumps({"schema": 1, "ms_per_hop": {name: row}}))
    assert cache.read("net", "v1") == {}


def test_a_folder_that_cannot_be_written_to_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = CostCache(48_000, tmp_path / "file" / "below")
    cache.write("net", "v1", {("net", 0): 1.0})
    cache.forget("net", "v1")
    assert cache.read("net", "v1") == {}


def test_an_interrupted_measurement_is_not_kept(tmp_path: Path) -> None:
    cache = CostCache(48_000, tmp_path)
    cache.write("net", "v1", {("net", 1): 2.0})
    assert cache.read("net", "v1") == {}


def test_levels_that_contradict_each_other_were_not_measured_well() -> None:
    costs = {("net", 0): 5.0, ("net", 1): 1.0, ("small", 0): 0.5, ("nan", 0): float("nan")}
    assert sound(costs) == {("small", 0): 0.5}


def test_a_package_is_known_by_its_description(tmp_path: Path) -> None:
    plain = fingerprint(info("net"))
    (tmp_path / "model.toml").write_text("a")
    first = fingerprint(info("net"), tmp_path)
    (tmp_path / "model.toml").write_text("b")
    assert len({plain, first, fingerprint(info("net"), tmp_path)}) == 3
    assert fingerprint(info("net"), tmp_path / "gone") == plain


# --- measuring ----------------------------------------------------------------------------------------------------


def test_a_child_measures_what_it_can_and_skips_what_it_cannot() -> None:
    costs = Calibration().measure(16_000, ["no-such-engine", "bypass"])
    assert costs.keys() == {("bypass", 0)}
    assert 0.005 < costs["bypass", 0] < 100.0


def test_a_measurement_that_is_ended_or_takes_too_long_gives_what_it_has() -> None:
    began = time.monotonic()
    assert Calibration().measure(48_000, ["wiener"], patience_s=0.01) == {}
    calibration = Calibration()
    calibration.end()
    assert calibration.measure(48_000, ["wiener"]) == {}
    assert time.monotonic() - began < 10.0


def test_without_an_interpreter_to_start_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/nonexistent/python")
    assert Calibration().measure(48_000, ["wiener"]) == {}


# --- costs while running ------------------------------------------------------------------------------------------


def test_what_is_seen_scales_what_is_not() -> None:
    costs = Costs()
    costs.calibrate({("net", 0): 1.0, ("net", 1): 4.0})
    for _ in range(200):
        costs.learn(("net", 1), 8.0)
    assert costs.of(("net", 1)) == pytest.approx(8.0)
    assert costs.of(("net", 0)) == pytest.approx(2.0)
    assert costs.of(("new", 0)) is None
    assert not costs.wild
    costs.learn(("net", 0), 40.0)
    assert costs.wild


def test_a_machine_that_got_slower_and_fast_again_is_noticed_by_the_rung_that_runs() -> None:
    costs = Costs()
    costs.learn(("net", 1), 8.0)  # under load
    for _ in range(10):
        costs.learn(("net", 0), 2.0)
    for _ in range(400):
        costs.learn(("net", 0), 1.0)
    assert costs.of(("net", 1)) == pytest.approx(4.0, rel=0.05)


# --- the ladder ---------------------------------------------------------------------------------------------------


def test_who_may_stand_in() -> None:
    entries = [
        entry("net", quality=GOOD),
        entry("bypass", "built in"),
        entry("plug", "plug-in", quality=GOOD),
        entry("ahead", quality=GOOD, lookahead_hops=2),
        entry("unmeasured"),
        entry("worse", quality={"si_sdr_i": -2.0, "pesq": 1.4}),
        entry("fair", "built in", quality=FAIR),
        entry("good", quality=GOOD),
        EngineEntry(id="broken", origin="package", problem="damaged"),
    ]
    assert [found.id for found in candidates(entries, info("net"))] == ["good", "fair"]


@pytest.mark.parametrize(
    ("costs", "wanted"),
    [
        ({"net": 3.0, "good": 1.5, "fair": 0.7, "bypass": 0.4}, ["fair", "good"]),
        ({"net": 3.0, "good": 2.5, "fair": 0.7, "bypass": 0.4}, ["fair"]),  # hardly cheaper
        ({"net": 3.0, "good": 1.5, "fair": 1.4, "bypass": 0.4}, ["good"]),
        ({"net": 0.6, "good": 0.5, "fair": 0.5, "bypass": 0.4}, []),  # bypass itself costs nearly as much
        ({"net": 3.0, "good": 1.5, "fair": 0.7}, []),  # nothing is known
        ({"good": 1.5, "fair": 0.7, "bypass": 0.4}, []),
    ],
)
def test_a_stand_in_must_be_clearly_cheaper(costs: dict[str, float], wanted: list[str]) -> None:
    known: dict[Key, float] = {(id, 0): ms for id, ms in costs.items()}
    choices = [info("good"), info("fair")]
    assert [found.id for found in stand_ins(choices, info("net"), known.get)] == wanted


def test_the_ladder_goes_from_nothing_to_the_best_level() -> None:
    made = rungs(info("net", levels=3), [info("small")])
    assert [rung.key for rung in made] == [("bypass", 0), ("small", 0), ("net", 0), ("net", 1), ("net", 2)]
    assert [rung.own for rung in made] == [False, False, True, True, True]
    assert [rung.key for rung in rungs(BypassEngine.info, [])] == [("bypass", 0)]


def test_the_shipped_engines_have_a_ladder() -> None:
    entries = registry().available()
    chosen = next(one.info for one in entries if one.id == "house-m")
    assert chosen is not None
    assert "gru-256" in [found.id for found in candidates(entries, chosen)]


# --- the machine --------------------------------------------------------------------------------------------------


class Machine:
    """What psutil would say."""

    def __init__(self) -> None:
        self.idle, self.percent, self.plugged, self.celsius = 0.0, 80.0, False, 50.0

    def cpu_times(self) -> object:
        return SimpleNamespace(idle=self.idle, iowait=0.0, nice=0.0, user=1e9)

    def sensors_battery(self) -> object:
        return SimpleNamespace(percent=self.percent, power_plugged=self.plugged)

    def sensors_temperatures(self) -> dict[str, list[object]]:
        row = SimpleNamespace(current=self.celsius, high=95.0, label="")
        return {"cpu": [row, SimpleNamespace(current=99.0, high=None, label="")]}


def test_idle_cores_are_counted_over_a_second() -> None:
    machine = Machine()
    around = Surroundings(machine)
    assert around.look(0.0).idle_cores is None
    machine.idle = 1.5
    assert around.look(0.5).idle_cores is None
    assert around.look(1.0).idle_cores == pytest.approx(1.5)


def test_a_low_battery_and_heat_are_said_until_they_are_clearly_over() -> None:
    machine = Machine()
    around = Surroundings(machine)
    said = []
    for look, (percent, plugged, celsius) in enumerate(
        [(80, False, 50), (19, False, 50), (23, False, 50), (26, False, 50), (10, True, 50), (80, True, 94),
         (80, True, 90), (80, True, 80)]
    ):  # fmt: skip
        machine.percent, machine.plugged, machine.celsius = percent, plugged, celsius
        said.append(around.look(look * (POWER_S + 1.0)).saving)
    assert [bool(words) for words in said] == [False, True, True, False, False, True, True, False]
    assert said[1] == "the battery is at 19 %"
    assert "94" in said[5]


def test_a_machine_that_says_nothing_is_not_guessed_about() -> None:
    around = Surroundings(SimpleNamespace())
    assert around.look(0.0) == around.look(100.0) == Hints()


# --- the overseer -------------------------------------------------------------------------------------------------


class Desk:
    """An overseer of a runner whose sound flows."""

    def __init__(self, tmp_path: Path, costs: dict[Key, float]) -> None:
        device = FakeDevice()
        self.runner = Runner(Pipeline(48_000, Levels()), now=device.now, settle_hops=0, slack_s=0.003)
        self.asked: list[list[str]] = []
        self.notes: list[str] = []
        self.held: list[Engine] = []
        self.costs = costs
        self.overseer = Overseer(
            self.runner,
            rate=48_000,
            engines=Small,
            entries=lambda: [
                entry("small", quality=FAIR),
                EngineEntry(id="bypass", origin="built in", info=BypassEngine.info),
            ],
            hold=self.held.append,
            note=self.notes.append,
            cache=CostCache(48_000, tmp_path),
            measure=self.measure,
        )

    def measure(self, _rate: int, ids: Iterable[str]) -> dict[Key, float]:
        self.asked.append(list(ids))
        return {key: ms for key, ms in self.costs.items() if key[0] in self.asked[-1]}

    def look(self, now: float) -> None:
        self.runner.report = Report(flowing=True)
        self.overseer.tick(now)
        for thread in threading.enumerate():
            if thread.name == "pse-calibrator":
                thread.join(5.0)
        self.runner.step()


class Small(BypassEngine):
    """Stands in."""

    def __init__(self, id: str) -> None:
        super().__init__()
        self.info = info(id)


COSTS: dict[Key, float] = {
    ("levels", 0): 1.0, ("levels", 1): 2.0, ("levels", 2): 3.0, ("small", 0): 0.6, ("bypass", 0): 0.3
}  # fmt: skip


def test_when_sound_has_flowed_for_a_while_costs_are_measured_once_and_kept(tmp_path: Path) -> None:
    desk = Desk(tmp_path, COSTS)
    desk.look(0.0)
    desk.look(AFTER_S - 0.1)
    assert desk.asked == []
    desk.look(AFTER_S + 0.1)
    desk.look(AFTER_S + 1.0)
    assert desk.asked == [["levels", "bypass", "small"]]
    assert [rung.key[0] for rung in desk.runner.steering.governor.rungs] == ["bypass", "small", *["levels"] * 3]
    assert desk.runner.steering.status.calibrated
    assert [engine.info.id for engine in desk.held] == ["small"]
    again = Desk(tmp_path, COSTS)
    again.look(0.0)
    again.look(AFTER_S + 0.1)
    assert again.asked == []
    assert again.runner.steering.status.calibrated
    again.overseer.stop()


def test_costs_that_are_wildly_wrong_are_measured_again(tmp_path: Path) -> None:
    desk = Desk(tmp_path, {key: 10.0 * ms for key, ms in COSTS.items()})
    desk.look(0.0)
    desk.look(AFTER_S + 0.1)
    desk.costs = COSTS
    desk.runner.steering.governor.costs.learn(("levels", 2), 3.0)
    assert desk.runner.steering.governor.costs.wild
    desk.look(AFTER_S + 1.0)
    desk.look(AFTER_S + 2.0 + WILD_S)
    desk.look(AFTER_S + 3.0 + WILD_S)
    assert desk.asked[1:] == [["levels"]]
    assert not desk.runner.steering.governor.costs.wild
    desk.overseer.stop()


def test_a_calibration_that_finds_nothing_changes_nothing(tmp_path: Path) -> None:
    desk = Desk(tmp_path, {})
    desk.look(0.0)
    desk.look(AFTER_S + 0.1)
    assert not desk.runner.steering.status.calibrated
    assert len(desk.runner.steering.governor.rungs) == 4
    desk.overseer.stop()
