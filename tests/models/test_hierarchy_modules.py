"""The two halves keep to the hierarchy."""

import torch
from torch import nn

from unveil.face.schemes import IBUG68
from unveil.models.part_whole import PartAttention, PartWhole, attention_mixers
from unveil.models.whole_part import Disentangle


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
    parts = parse(torch.randn(2, 24))
    assert [part.shape for part in parts] == [(2, 8)] * 12


def test_children_come_from_their_part_its_partner_and_its_parent_alone() -> None:
    """Equations 4 and 5: the chin's neighbourhood hangs on both cheeks and on their group, not on the mouth."""
    parse = Disentangle(IBUG68.hierarchy, 24, (16, 12, 8))
    neighbourhoods = parse.levels[2]
    assert isinstance(neighbourhoods, nn.ModuleList)
    first = neighbourhoods[0]
    assert isinstance(first, nn.Sequential)
    cheeks, group = 2 * 12, 16
    assert first[0].in_features == cheeks + group
