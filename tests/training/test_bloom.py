"""training/models/bloom.py and staged recipes: grown blocks leave what stands alone, exits share one network."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch

from pse_stream.training.loop import load_checkpoint, train
from pse_stream.training.models import build
from pse_stream.training.recipe import RecipeError, parse_recipe, recipe_table, staged

from .test_loop import TABLE
from .test_models import frames

WIDTHS = [8, 12, 16]
STAGES = [
    {"name": "1", "model": {"stage": 1}, "optim": {"updates": 3}},
    {"name": "2", "model": {"stage": 2}},
    {"name": "all", "seed": 2, "model": {"stage": 0}},
]


def bloom(stage: int = 0):
    torch.manual_seed(0)
    return build(family="bloom", widths=WIDTHS, stage=stage)


def lesson_of(net, update=0):
    return net.lessons(frames(10), frames(10), net.zero_states(1), np.random.default_rng(update))[0]


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_a_stage_trains_its_block_and_head_only(stage):
    net = bloom(stage)
    (lesson,) = lesson_of(net)
    lesson.clean.square().sum().backward()
    moved = {name.split(".")[1] for name, p in net.named_parameters() if p.grad is not None}
    assert moved == {str(stage - 1)}


def test_the_joint_training_reaches_every_exit():
    net, seen = bloom(), set()
    for update in range(20):
        lessons = lesson_of(net, update)
        assert len(lessons) == 2
        net.zero_grad(set_to_none=True)
        sum(lesson.clean.square().sum() for lesson in lessons).backward()
        seen |= {k for k, head in enumerate(net.heads) if head.weight.grad is not None}
    assert seen == {0, 1, 2}


@torch.no_grad()
def test_a_shallow_exit_does_not_feel_the_deeper_blocks():
    net, other = bloom(), bloom()
    for p in (*other.blocks[1].parameters(), *other.views[1].parameters(), *other.heads[2].parameters()):
        p.add_(1.0)
    first = [x.at_level(0)(frames(20), x.at_level(0).zero_states(1))[0] for x in (net, other)]
    last = [x.at_level(2)(frames(20), x.zero_states(1))[0] for x in (net, other)]
    assert torch.equal(*first) and not torch.allclose(*last)


@torch.no_grad()
def test_states_mean_the_same_in_every_level():
    net = bloom()
    _, shallow = net.at_level(0)(frames(20), net.at_level(0).zero_states(1))
    _, deep = net.at_level(2)(frames(20), net.zero_states(1))
    assert len(shallow) == 2 and len(deep) == 4
    assert all(torch.equal(a, b) for a, b in zip(shallow, deep, strict=False))


@torch.no_grad()
def test_a_new_exit_begins_close_to_the_one_before_it():
    net = bloom(stage=2)
    near = net.at_level(0)(frames(20), net.at_level(0).zero_states(1))[0]
    cold = net.at_level(1)(frames(20), net.at_level(1).zero_states(1))[0]
    net.begin_with(net.state_dict())
    warm = net.at_level(1)(frames(20), net.at_level(1).zero_states(1))[0]
    assert (warm - near).norm() < 0.5 * (cold - near).norm()


@torch.no_grad()
def test_a_rival_may_begin_as_the_first_blocks_of_a_deeper_network():
    net = bloom()
    rival = build(family="bloom", widths=WIDTHS[:2], stage=-1)
    rival.begin_with(net.state_dict())
    spec = frames(20)
    expected, _ = net.at_level(1)(spec, net.at_level(1).zero_states(1))
    assert torch.equal(rival(spec, rival.zero_states(1))[0], expected)
    with pytest.raises(RuntimeError, match="Missing"):
        net.begin_with(rival.state_dict())


def test_levels_cost_more_with_depth_and_the_rival_is_the_last_of_them():
    net, rival = bloom(), bloom(stage=-1)
    macs = [net.at_level(k).macs_per_frame() for k in range(3)]
    assert macs == sorted(macs) and len(set(macs)) == 3
    assert macs[0] == 257 * 8 + 6 * 8 * 8 + 8 * 257
    assert rival.n_levels == 1 and rival.macs_per_frame() == macs[-1]
    assert net.at_level(2).parameter_count() == rival.parameter_count()


def test_widths_must_not_shrink():
    with pytest.raises(ValueError, match="shrink"):
        build(family="bloom", widths=[8, 4])


def recipe():
    table = TABLE | {"model": {"family": "bloom", "widths": WIDTHS}, "stages": STAGES}
    table["optim"] = {"updates": 2, "warmup": 1}
    return parse_recipe(table, origin="test")


def test_stages_are_recipes_that_start_from_each_other():
    one, two, last = staged(recipe())
    assert [r.name for r in (one, two, last)] == ["tiny-1", "tiny-2", "tiny"]
    assert [r.start_from for r in (one, two, last)] == ["", "tiny-1", "tiny-2"]
    assert [r.model["stage"] for r in (one, two, last)] == [1, 2, 0]
    assert (one.optim.updates, two.optim.updates, one.optim.warmup) == (3, 2, 1) and last.seed == 2
    assert all(r.model["widths"] == WIDTHS and not r.stages for r in (one, two, last))
    assert staged(one) == [one]
    with pytest.raises(RecipeError, match="stage 1"):
        staged(parse_recipe(recipe_table(recipe()) | {"stages": [{"colour": 1}]}, origin="test"))


def test_growing_freezes_stops_and_resumes(store, tmp_path):
    one, two, last = staged(recipe())
    for stage in (one, two, last):
        train(stage, store, tmp_path / "straight")
    train(one, store, tmp_path / "broken")
    train(two, store, tmp_path / "broken", stop_after=1)
    for stage in (one, two, last):  # what is complete is left alone, the rest goes on
        train(stage, store, tmp_path / "broken")
    saved = {
        run: {r.name: load_checkpoint(tmp_path / run / r.name / "checkpoint.pt") for r in (one, two, last)}
        for run in ("straight", "broken")
    }
    for name in ("tiny-1", "tiny-2", "tiny"):
        straight, broken = (saved[run][name]["average"] for run in ("straight", "broken"))
        assert all(torch.equal(straight[k], broken[k]) for k in straight)
    grown, before = saved["straight"]["tiny-2"]["average"], saved["straight"]["tiny-1"]["average"]
    frozen = [k for k in grown if k.split(".")[0] in ("mean", "spread") or k.split(".")[1] == "0"]
    assert len(frozen) == 2 + 2 + 4 + 2 and all(torch.equal(grown[k], before[k]) for k in frozen)
    assert not torch.equal(grown["blocks.1.weight_hh_l0"], before["blocks.1.weight_hh_l0"])
    assert saved["straight"]["tiny"]["before"] == 5


def test_validation_tells_every_level(store, tmp_path):
    last = staged(recipe())[-1]
    run = train(dataclasses.replace(last, start_from=""), store, tmp_path)
    line = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["valid"]
    assert {"snr_0", "snr_1", "snr_2"} <= set(line) and line["snr"] == line["snr_2"]
