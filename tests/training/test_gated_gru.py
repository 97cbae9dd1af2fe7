"""training/models/gated_gru.py: torch's GRU where all gates are open, and a gradient that holds in every case."""

from __future__ import annotations

import torch
from torch import nn

from pse_stream.training.models.gated_gru import gated_gru

BATCH, TIME, WIDTH = 2, 6, 4


def inputs(opened, dtype=torch.float32):
    draw = torch.Generator().manual_seed(3)
    shapes = [(BATCH, TIME, 3 * WIDTH), (3 * WIDTH, WIDTH), (3 * WIDTH,), (BATCH, WIDTH)]
    return [torch.randn(*s, generator=draw, dtype=dtype) for s in shapes] + [opened.to(dtype)]


def test_with_all_gates_open_it_is_torchs_gru():
    from_input, weight, bias, start, opened = inputs(torch.ones(BATCH, TIME, WIDTH))
    gru = nn.GRU(3 * WIDTH, WIDTH, batch_first=True)
    with torch.no_grad():
        gru.weight_ih_l0.copy_(torch.eye(3 * WIDTH))
        gru.bias_ih_l0.zero_()
        gru.weight_hh_l0.copy_(weight)
        gru.bias_hh_l0.copy_(bias)
        expected, last = gru(from_input, start[None])
    out = gated_gru(from_input, weight, bias, start, opened)
    assert torch.allclose(out, expected, atol=1e-6) and torch.allclose(out[:, -1], last[0], atol=1e-6)


def test_a_shut_channel_holds_and_is_heard_by_the_others():
    opened = torch.ones(BATCH, TIME, WIDTH)
    opened[:, 2:, 3] = 0.0
    from_input, weight, bias, start, opened = inputs(opened)
    out = gated_gru(from_input, weight, bias, start, opened)
    assert torch.equal(out[:, 2:, 3], out[:, 1:2, 3].expand(-1, TIME - 2))
    weight[: 3 * WIDTH - 1, 3] += 1.0  # what the others make of this channel
    again = gated_gru(from_input[:, 2:], weight, bias, out[:, 1], opened[:, 2:])
    assert (again[:, 0, :3] != out[:, 2, :3]).all()


def test_gradients_to_everything_also_to_the_gate():
    opened = (torch.arange(BATCH * TIME * WIDTH) % 3 > 0).reshape(BATCH, TIME, WIDTH)
    given = [x.requires_grad_() for x in inputs(opened, torch.float64)]
    assert torch.autograd.gradcheck(gated_gru, given)
