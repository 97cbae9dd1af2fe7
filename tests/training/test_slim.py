"""training/models/slim.py, branching.py: narrow frames skip what they say they skip, in torch and in ONNX alike."""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("onnxruntime")

from pse_stream.engines.package import read_package
from pse_stream.training.export import check, export, licences, to_onnx
from pse_stream.training.loop import train
from pse_stream.training.models import build
from pse_stream.training.models.slim import sorted_channels
from pse_stream.training.recipe import parse_recipe

from .test_loop import TABLE
from .test_models import frames

OPTIONS = {"family": "slim", "width": 16, "narrow": 4, "shares": [0.4, 0.7, 1.0]}


def slim(restless: bool = True):
    """With a gate that opens now and then."""
    torch.manual_seed(0)
    net = build(**OPTIONS).eval()
    if restless:
        with torch.no_grad():
            net.gate_out.weight.mul_(30.0)
            net.gate_out.bias.add_(1.5)
    return net


def decisions(net, n=40):
    return net._play(frames(n), net.zero_states(1))[2][0].detach() > 0.5


@torch.no_grad()
@pytest.mark.parametrize("level", [0, 1, 2])
def test_frame_by_frame_equals_whole_sequence_at_every_level(level):
    net = slim().at_level(level)
    if level < 2:
        assert 3 < int(decisions(net, 160).sum()) < 157  # both branches are taken
    spec, states, out = frames(160), net.zero_states(1), []
    whole, last = net(spec, net.zero_states(1))
    for t in range(160):
        frame, *states = net.step(spec[:, t], *states)
        out.append(frame)
    assert torch.allclose(torch.stack(out, 1), whole, atol=1e-4)
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(states, last, strict=True))


def test_levels_of_a_package_are_one_graph_and_share_all_but_the_threshold(store, tmp_path):
    run = train(parse_recipe(TABLE | {"model": OPTIONS}, origin="test"), store, tmp_path)
    export(
        run, tmp_path / "package", identity="tiny", title="Tiny", version="0", card="# card", quality={},
        licence_data=licences(store.recordings),
    )  # fmt: skip
    levels = read_package(tmp_path / "package").description.levels
    assert [level.file for level in levels] == ["model.onnx"] * 3
    assert [[state.shared for state in level.states] for level in levels] == [[True, True, False, True, True]] * 3
    assert levels[0].settings["rise"] > levels[1].settings["rise"] > levels[2].settings["rise"] == 0.0


def test_one_branched_graph_equals_torch_at_every_level():
    net = slim()
    graph = to_onnx(net)
    assert max(check(net.at_level(level), graph) for level in range(3)) < 1e-4


@torch.no_grad()
def test_a_lesson_changes_level_at_any_moment():
    net, spec = slim(), frames(30)
    borders = set()
    for update in range(40):
        lessons, states = net.lessons(spec, spec, net.zero_states(1), np.random.default_rng(update))
        assert lessons[0].clean.shape == spec.shape and len(states) == 5
        for level in range(3):
            held = (lessons[0].clean - net.at_level(level)(spec, net.zero_states(1))[0]).abs().amax((0, 2, 3)) < 1e-6
            borders.add(int(held.long().cumprod(0).sum()))  # frames until it plays another level
    assert {0, 30} < borders and len(borders - {0, 30}) > 6


@torch.no_grad()
def test_narrow_frames_leave_the_other_channels_alone():
    net = slim().at_level(0)
    net.gate_out.bias.fill_(-1e3)
    states = [torch.randn(1, *shape) for shape in net.state_shapes]
    states[0] = torch.tensor([[1.0, 500.0]])
    spec = frames(5)
    out, new = net(spec, states)
    for before, after in zip(states[3:], new[3:], strict=True):
        assert torch.equal(before[:, 4:16], after[:, 4:16]) and not torch.equal(before[:, :4], after[:, :4])
    frame, *stepped = net.step(spec[:, 0], *states)
    for before, after in zip(states[3:], stepped[3:], strict=True):
        assert torch.equal(before[:, 4:], after[:, 4:])  # what is heard of them too
    assert torch.isfinite(frame).all() and torch.isfinite(out).all()


def test_levels_rise_in_cost_and_the_last_computes_everything():
    net = slim()
    macs = [net.at_level(k).macs_per_frame() for k in range(3)]
    assert macs == sorted(macs) and net.full_frames()[-1] == 1.0
    assert net.at_level(2)._play(frames(5), net.zero_states(1))[2] is None


def test_the_share_is_kept_whatever_the_gate_thinks_of_the_sound():
    for bias in (-3.0, 0.0, 3.0):
        net = slim()
        net.gate_out.bias.data.fill_(bias)
        for level in (0, 1):
            opened = decisions(net.at_level(level), 1500)[900:].float().mean()
            assert abs(float(opened) - net.full_frames()[level]) < 0.05


@torch.no_grad()
def test_a_fresh_stream_begins_with_the_threshold_that_streams_end_with():
    net, spec = slim(), frames(60)
    net.gate_out.bias.add_(0.7)  # wishes to open more often than it may
    states, draw = net.zero_states(1), np.random.default_rng(0)
    apart = []
    for _ in range(300):
        states = net.lessons(spec, spec, states, draw)[1]
        apart.append(abs(float(states[2])))
    assert net.starts[0] > net.starts[1] > 0.0 == net.starts[2]
    assert np.mean(apart[-50:]) < 0.15 and np.mean(apart[:50]) > 0.4


@torch.no_grad()
def test_no_wish_is_out_of_the_reach_of_the_threshold():
    assert float(slim()._gate(*torch.full((2, 1, 16), 1e3)).abs()) < 1.51


def test_the_gate_is_taught():
    net = slim().at_level(0)
    clean, _ = net(frames(20), net.zero_states(1))
    clean.square().sum().backward()
    assert net.gate_out.weight.grad.any() and net.gate_in.weight.grad.any()


@torch.no_grad()
def test_it_starts_as_the_masker_it_came_from():
    torch.manual_seed(1)
    masker = build(family="gru", width=16).eval()
    net = slim()
    net.begin_with(masker.state_dict())
    spec = frames(20)
    assert torch.allclose(net(spec, net.zero_states(1))[0], masker(spec, masker.zero_states(1))[0], atol=1e-5)
    weights = sorted_channels(masker.state_dict())
    assert (weights["head.weight"].norm(dim=0).diff() <= 1e-6).all()
    again = slim(restless=False)
    again.begin_with(net.state_dict())
    assert torch.equal(again.gate_out.weight, net.gate_out.weight)


def test_shares_must_rise_to_one():
    for shares in ([0.5, 0.4, 1.0], [0.4, 0.9], [0.1, 1.0]):
        with pytest.raises(ValueError, match="rise"):
            build(**(OPTIONS | {"shares": shares}))
