"""The two halves keep to the hierarchy."""

import torch

from unveil.face.schemes import IBUG68
from unveil.models.features import context
from unveil.models.part_whole import PartAttention, PartWhole, attention_mixers
from unveil.models.whole_part import Disentangle, ParseLevel, Recall


def test_a_landmark_hears_its_own_part_and_no_other() -> None:
    level = IBUG68.hierarchy.levels[1]
    torch.manual_seed(0)
    mixer = PartAttention(level, 16).eval()
    tokens = torch.randn(1, 68, 16)
    changed = tokens.clone()
    changed[0, 60] = torch.randn(16)  # in the mouth
    moved = (mixer(changed) - mixer(tokens)).abs().sum(dim=-1)[0] > 1e-5
    mouth = set(next(part for part in level.parts if part.name == "mouth").points)
    assert {i for i in range(68) if moved[i]} == mouth


def test_the_whole_is_reached_through_the_levels() -> None:
    torch.manual_seed(0)
    mixing = PartWhole(attention_mixers(IBUG68.hierarchy, 16)).eval()
    tokens = torch.randn(1, 68, 16)
    changed = tokens.clone()
    changed[0, 0] = torch.randn(16)
    assert ((mixing(changed) - mixing(tokens)).abs().sum(dim=-1) > 1e-6).all()


def test_every_neighbourhood_gets_a_vector_of_the_last_width() -> None:
    parse = Disentangle(IBUG68.hierarchy, 24, (16, 12, 8))
    parts, regions = parse(torch.randn(2, 24))
    assert (parts.shape, regions.shape) == ((12, 2, 8), (6, 2, 12))


def test_children_come_from_their_part_its_partner_and_its_parent_alone() -> None:
    """Equations 4 and 5: what the left jaw is hangs on both cheeks and their group, not on the mouth."""
    torch.manual_seed(0)
    parse = ParseLevel(IBUG68.hierarchy, 0, 12, 16, 8, 8)
    regions, groups = torch.randn(6, 1, 12), torch.randn(3, 1, 16)
    names = [part.name for part in IBUG68.hierarchy.levels[1].parts]

    def moves_the_left_jaw(region: str | None, group: int | None) -> bool:
        changed_regions, changed_groups = regions.clone(), groups.clone()
        if region is not None:
            changed_regions[names.index(region)] += 1
        if group is not None:
            changed_groups[group] += 1
        moved = parse(changed_regions, changed_groups)[0] - parse(regions, groups)[0]
        return bool(moved.abs().sum() > 1e-6)

    assert moves_the_left_jaw("left cheek", None)
    assert moves_the_left_jaw("right cheek", None)
    assert moves_the_left_jaw(None, 0)
    assert not moves_the_left_jaw("mouth", None)
    assert not moves_the_left_jaw(None, 2)


def test_a_memory_does_not_fill_when_features_grow() -> None:
    torch.manual_seed(0)
    begin, recall = context(8, 24), Recall(68, 16, 4, 24)
    coarse, tokens = torch.randn(3, 8, 5, 5), torch.randn(3, 68, 16)
    small, large = (recall(grow * tokens, begin(grow * coarse)) for grow in (1.0, 1000.0))
    assert torch.allclose(small, large, atol=1e-2)
    assert large.abs().max() < 0.95
    assert large.std(dim=0).min() > 0
