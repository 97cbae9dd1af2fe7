"""training/models/grouped.py: many networks at once give what each gives alone, forwards and backwards."""

from __future__ import annotations

import torch

from pse_stream.training.models.grouped import GroupedMaskers, MaskError
from pse_stream.training.models.gru import GRUMasker


def _alone(net: GRUMasker, features: torch.Tensor) -> torch.Tensor:
    return net.head(net.gru(features)[0])


def test_groups_equal_networks_alone():
    torch.manual_seed(0)
    nets = [GRUMasker(8) for _ in range(3)]
    for net in nets:
        for p in net.parameters():
            p.data.add_(0.1 * torch.randn_like(p))
    features, weights = torch.randn(3, 2, 11, 257), torch.randn(3, 2, 11, 257)
    together = GroupedMaskers(nets)
    logits = together(features)
    (logits * weights).sum().backward()
    for k, net in enumerate(nets):
        alone = _alone(net, features[k])
        (alone * weights[k]).sum().backward()
        torch.testing.assert_close(logits[k], alone, rtol=1e-4, atol=1e-5)
        for name, p in net.named_parameters():
            found = together.stacked[together.names.index(name)].grad[k]
            torch.testing.assert_close(found, p.grad, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(_alone(together.network(k), features[k]), alone)


def test_the_error_of_a_mask_and_its_slope():
    torch.manual_seed(0)
    rows, clean, noisy = torch.tensor([[0, 2], [1, 1]]), torch.randn(3, 5, 7, 2), torch.randn(3, 5, 7, 2)
    logits, weights = torch.randn(2, 2, 5, 7, requires_grad=True), torch.randn(2, 2)
    expected = (clean[rows] - torch.sigmoid(logits).unsqueeze(-1) * noisy[rows]).square().sum((2, 3, 4))
    (slope,) = torch.autograd.grad((expected * weights).sum(), logits)
    again = logits.detach().clone().requires_grad_()
    wanted, common, power = clean.square().sum((1, 2, 3)), (clean * noisy).sum(-1), noisy.square().sum(-1)
    found = MaskError.apply(again.clone(), rows, wanted, common, power)
    (found * weights).sum().backward()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(again.grad, slope, rtol=1e-4, atol=1e-4)
