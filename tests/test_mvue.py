"""Pruning at random: chances, and that nothing else is unbiased and varies less."""

import numpy as np
import pytest
import torch

from moesaic.models.torch_zoo.mvue import chances, sample


def test_chances_are_the_best_there_are() -> None:
    groups = torch.tensor([[1.0, 1, 1, 1], [4, 1, 1, 2], [8, 1, 0, 1], [0, 0, -3, 0], [0] * 4])
    wanted = [[0.5] * 4, [1, 0.25, 0.25, 0.5], [1, 0.5, 0, 0.5], [0, 0, 1, 0], [0] * 4]
    torch.testing.assert_close(chances(groups, 2), torch.tensor(wanted, dtype=torch.float64))


@pytest.mark.parametrize(("n", "m"), [(1, 4), (2, 4), (2, 8), (4, 8)])
def test_sampling_is_unbiased_and_of_least_variance(n: int, m: int) -> None:
    rng = np.random.default_rng(n)
    group = torch.from_numpy(rng.standard_normal(m) ** 3)
    count = 40_000
    values = sample(group.expand(count, m), n, torch.Generator().manual_seed(1))
    assert int((values != 0).sum(-1).max()) == int((values != 0).sum(-1).min()) == n
    chance = chances(group, n)
    variance = (group**2 * (1 / chance - 1)).clamp_min(0)
    error = (values.mean(0) - group).abs()
    assert (error <= 5 * (variance / count).sqrt() + 1e-12).all()
    assert abs(float(values.var(0).sum() / variance.sum()) - 1) < 0.05
    for _ in range(200):  # no other choice of chances varies less
        other = torch.from_numpy(rng.dirichlet(np.ones(m)) * n)
        if float(other.max()) <= 1:
            assert float((group**2 * (1 / other - 1)).sum()) >= float(variance.sum()) - 1e-9
