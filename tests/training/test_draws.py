"""What is drawn depends on seed, epoch and utterance alone; mixup keeps what a batch counts."""

from __future__ import annotations

import torch

from lanser_cli.training.draws import Draws, mixed

KEYS = [(0, 7, True), (0, 3, True), (1, 7, True), (0, 7, False)]


def test_draws_are_of_seed_epoch_and_utterance() -> None:
    drawn = Draws.of(1, KEYS, alpha=0.4)
    for place, key in enumerate(KEYS):
        alone = Draws.of(1, [key], alpha=0.4)
        assert torch.equal(alone.masks[0], drawn.masks[place])
        assert alone.share[0] == drawn.share[place]
    assert torch.equal(drawn.masks[0], drawn.masks[3]), "whether it counts changes nothing"
    other = Draws.of(2, KEYS, alpha=0.4)
    for one, another in ((0, 1), (0, 2)):
        assert not torch.equal(drawn.masks[one], drawn.masks[another])
        assert drawn.share[one] != drawn.share[another]
    assert not torch.equal(drawn.masks[0], other.masks[0])
    assert Draws.of(1, KEYS, alpha=0.0).share.tolist() == [1.0] * 4


def test_mixup_keeps_sums_in_pairs() -> None:
    torch.manual_seed(0)
    sound, target, weight = torch.randn(5, 100), torch.eye(5), torch.ones(5)
    share = torch.tensor([0.75, 0.1, 0.5, 0.2, 0.3])
    mixture, targets, weights = mixed(sound, target, weight, share)
    assert torch.allclose(mixture[0], 0.75 * sound[0] + 0.25 * sound[1], atol=1e-6)
    assert torch.allclose(mixture[1], 0.25 * sound[0] + 0.75 * sound[1], atol=1e-6)
    assert torch.equal(mixture[4], sound[4]), "the last has no partner"
    assert torch.allclose(targets.sum(dim=1), torch.ones(5))
    assert torch.allclose(targets @ sound, mixture, atol=1e-6)
    assert torch.allclose(weights, weight)


def test_a_share_of_one_changes_nothing() -> None:
    sound, target, weight = torch.randn(3, 9), torch.eye(3), torch.tensor([1.0, 0.5, 0.0])
    mixture, targets, weights = mixed(sound, target, weight, torch.ones(3))
    assert torch.equal(mixture, sound) and torch.equal(weights, weight)
    assert torch.equal(targets[:2], target[:2])


def test_mixup_counts_each_target_by_its_weight() -> None:
    weight = torch.tensor([1.0, 1.0, 0.0, 1.0, 0.0])
    for seed in range(20):
        torch.manual_seed(seed)
        _, target, total = mixed(torch.randn(5, 10), torch.eye(5), weight, torch.rand(5))
        assert torch.allclose(total @ target, weight, atol=1e-6)
