"""training/models/grouped.py: many networks at once give what each gives alone, forwards and backwards."""

from __future__ import annotations

import torch

from pse_stream.training.models.grouped import GroupedMaskers
from pse_stream.training.models.gru import GRUMasker


def _alone(net: GRUMasker, features: torch.Tensor) -> torch.Tensor:
    return net.head(net.gru((features - net.mean) / net.spread)[0])


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
