"""training/models/diffuse.py: milestones, steps that learn alone, steps that learn together, the rival."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from pse_stream.training.models import build

from .test_models import frames


def diffuse(**options):
    torch.manual_seed(0)
    return build(family="diffuse", width=8, residual_db=[-6.0, -12.0], **options)


def taught(net, update):
    noisy, target = frames(10), 0.3 * frames(10)
    return net.lessons(noisy, target, net.zero_states(1), np.random.default_rng(update))[0], noisy, target


def moved(net):
    return {name.split(".")[1] for name, p in net.named_parameters() if p.grad is not None and p.grad.any()}


def test_every_step_aims_at_its_milestone():
    net, seen = diffuse(), set()
    for update in range(12):
        lessons, noisy, target = taught(net, update)
        for lesson in lessons:
            left = [k for k in net.left if torch.allclose(lesson.target, target + k * (noisy - target))]
            assert len(left) == 1
            seen.add(left[0])
    assert sorted(seen, reverse=True) == net.left == pytest.approx([0.501, 0.251, 0.0], abs=1e-3)


def test_alone_each_judged_step_learns_and_no_other():
    for update in range(12):
        net = diffuse()
        lessons, _, _ = taught(net, update)
        lessons[-1].clean.square().sum().backward()
        assert len(moved(net)) == 1


def test_together_the_last_step_teaches_all():
    for update in range(12):
        net = diffuse(through=True)
        lessons, _, target = taught(net, update)
        if torch.equal(lessons[-1].target, target):
            lessons[-1].clean.square().sum().backward()
            assert "2" in moved(net) and len(moved(net)) >= 2  # an ideal milestone may cut the chain once
            return
    raise AssertionError("the last step was never judged")


@torch.no_grad()
def test_fewer_steps_are_a_prefix_of_more():
    net = diffuse()
    outs = [net.at_level(k)(frames(20), net.at_level(k).zero_states(1)) for k in range(3)]
    for (_, few), (_, more) in itertools.pairwise(outs):
        assert all(torch.equal(a, b) for a, b in zip(few, more, strict=False))
    power = [float(out.square().sum()) for out, _ in outs]
    assert power == sorted(power, reverse=True)  # every step only takes away


@torch.no_grad()
def test_the_rival_takes_away_a_share_of_its_estimate_at_each_step():
    net, spec = diffuse(ordinary=True), frames(20)
    assert net.left == pytest.approx([2 / 3, 1 / 3, 0.0]) and len(net.nets) == 1
    for net_ in net.nets:
        net_.head.weight.zero_()
        net_.head.bias.fill_(-100.0)  # an estimate of silence
    outs = [net.at_level(k)(spec, net.at_level(k).zero_states(1))[0] for k in range(3)]
    for out, left in zip(outs, net.left, strict=True):
        assert torch.allclose(out, left * spec, atol=1e-5)


def test_milestones_must_fall():
    with pytest.raises(ValueError, match="fall"):
        build(family="diffuse", residual_db=[-12.0, -6.0])


@torch.no_grad()
def test_steps_begin_as_a_one_shot_network_that_leaves_some_noise():
    torch.manual_seed(1)
    one = build(family="bloom", widths=[8], stage=-1)
    one.heads[0].weight.zero_()
    one.heads[0].bias.fill_(-3.0)  # to this one everything is noise
    net, noisy = diffuse(), frames(20)
    net.begin_with(one.state_dict())
    left = [
        float(net.at_level(k)(noisy, net.at_level(k).zero_states(1))[0].norm() / noisy.norm())
        for k in range(net.n_levels)
    ]
    assert left[:2] == pytest.approx(net.left[:2], rel=1e-3)
    assert left[2] == pytest.approx(net.left[1] / (1.0 + np.exp(3.0)), rel=1e-3)
    one.heads[0].bias.fill_(4.0)  # and now speech
    net.begin_with(one.state_dict())
    assert float(net(noisy, net.zero_states(1))[0].norm() / noisy.norm()) > 0.9


@torch.no_grad()
def test_the_rival_begins_with_the_one_shot_network_as_its_first_step():
    one, net, noisy = build(family="bloom", widths=[8], stage=-1), diffuse(ordinary=True), frames(20)
    net.begin_with(one.state_dict())
    estimate = one(noisy, one.zero_states(1))[0]
    first = net.at_level(0)
    torch.testing.assert_close(first(noisy, first.zero_states(1))[0], noisy - (noisy - estimate) / 3)


@torch.no_grad()
def test_links_begin_silent_and_then_carry_what_the_step_before_thought():
    plain, linked = diffuse(), diffuse(linked=True)
    linked.begin_with(plain.state_dict())
    spec, states = frames(12), plain.zero_states(1)
    assert torch.equal(linked(spec, states)[0], plain(spec, states)[0])
    for net in linked.nets[1:]:
        net.link.weight.normal_(0.0, 0.3)
    whole, _ = linked(spec, linked.zero_states(1))
    assert not torch.allclose(whole, plain(spec, states)[0], atol=1e-3)
    out, now = [], linked.zero_states(1)
    for t in range(spec.shape[1]):
        frame, *now = linked.step(spec[:, t], *now)
        out.append(frame)
    assert torch.allclose(torch.stack(out, 1), whole, atol=1e-5)
    assert linked.macs_per_frame() == plain.macs_per_frame() + 2 * 8**2
    again = diffuse(linked=True)
    again.begin_with(linked.state_dict())
    assert torch.equal(again.nets[2].link.weight, linked.nets[2].link.weight)


def test_links_are_taught_by_the_steps_behind_them():
    net = diffuse(linked=True, through=True)
    lessons, _, _ = taught(net, 0)
    lessons[-1].clean.square().sum().backward()
    assert all(step.link.weight.grad.any() for step in net.nets[1:])
    with pytest.raises(ValueError, match="no links"):
        diffuse(linked=True, ordinary=True)
