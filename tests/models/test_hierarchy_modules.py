"""The two halves keep to the hierarchy, and the paper's modules to its equations."""

import pytest
import torch

from unveil.models.backbones import memory_init
from unveil.models.heads import LocalShapeHead
from unveil.models.part_whole import PartAttention, PartNonLocal, PartWholeEncoder, attention_mixers, non_local_mixers
from unveil.models.patches import Coordinates
from unveil.models.whole_part import DecoderLevel, GRUMemory, RNNMemory, WholePartDecoder
from unveil.schemes.scheme import COFW29, IBUG68, WFLW98, Scheme


def test_a_landmark_attends_to_its_own_part_and_no_other() -> None:
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
    mixing = PartWholeEncoder(attention_mixers(IBUG68.hierarchy, 16)).eval()
    tokens = torch.randn(1, 68, 16)
    changed = tokens.clone()
    changed[0, 0] = torch.randn(16)
    assert ((mixing(changed) - mixing(tokens)).abs().sum(dim=-1) > 1e-6).all()


def test_every_neighbourhood_gets_a_vector_of_the_last_width() -> None:
    parse = WholePartDecoder(IBUG68.hierarchy, 24, (16, 12, 8))
    parts, regions = parse(torch.randn(2, 24))
    assert (parts.shape, regions.shape) == ((12, 2, 8), (6, 2, 12))


def test_children_come_from_their_part_its_partner_and_its_parent_alone() -> None:
    """Equations 4 and 5: what the left jaw is hangs on both cheeks and their group, not on the mouth."""
    torch.manual_seed(0)
    parse = DecoderLevel(IBUG68.hierarchy, 0, 12, 16, 8, 8)
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
    begin, memory = memory_init(8, 24), GRUMemory(68, 16, 4, 24)
    coarse, tokens = torch.randn(3, 8, 5, 5), torch.randn(3, 68, 16)
    small, large = (memory(grow * tokens, begin(grow * coarse)) for grow in (1.0, 1000.0))
    assert torch.allclose(small, large, atol=1e-2)
    assert large.abs().max() < 0.95
    assert large.std(dim=0).min() > 0


@pytest.mark.parametrize("scheme", [IBUG68, WFLW98, COFW29])
def test_a_parts_patches_exchange_by_a_non_local_block_of_its_own(scheme: Scheme) -> None:
    """Figure 5: softmax(X1 X2ᵀ) X3 over the places of the part's patches."""
    torch.manual_seed(0)
    places, channels = 4, 8
    for level in scheme.hierarchy.levels:
        block = PartNonLocal(level, places, channels)
        tokens = torch.randn(2, scheme.points, places * channels)
        expected = torch.empty_like(tokens)
        for p, part in enumerate(level.parts):
            own = tokens[:, list(part.points)].reshape(2, -1, channels)
            x1, x2, x3 = (own @ block.qkv.weight[p] + block.qkv.bias[p]).chunk(3, dim=-1)
            mixed = (x1 @ x2.mT).softmax(dim=-1) @ x3 @ block.proj.weight[p] + block.proj.bias[p]
            expected[:, list(part.points)] = mixed.reshape(2, len(part.points), -1)
        torch.testing.assert_close(block(tokens), expected, atol=1e-5, rtol=1e-4)


def test_what_faces_differ_in_survives_the_papers_five_levels() -> None:
    torch.manual_seed(0)
    mixed = 0.6 * torch.randn(8, 1, 4 * 128) + 0.2 * torch.randn(8, 68, 4 * 128)
    for mixer in non_local_mixers(IBUG68.hierarchy, 4, 128, patch_level=True):
        mixed = mixer(mixed)
        assert float(mixed.detach().std(dim=0).mean()) > 0.03


def test_a_local_shape_comes_from_its_neighbourhood_the_siblings_and_their_region_alone() -> None:
    torch.manual_seed(0)
    smallest, regions = IBUG68.hierarchy.levels[:2]
    local = LocalShapeHead(IBUG68.hierarchy, 6, 5)
    torch.nn.init.normal_(local.fc.weight)
    parts, above = torch.randn(len(smallest.parts), 1, 6), torch.randn(len(regions.parts), 1, 5)
    changed = parts.clone()
    changed[0] += 1
    moved = (local(changed, above) - local(parts, above)).abs().sum(dim=-1)[0] > 1e-6
    family = {0, *IBUG68.hierarchy.siblings(0, 0)}
    assert {i for i in range(68) if moved[i]} == {i for part in family for i in smallest.parts[part].points}
    lifted = above.clone()
    lifted[IBUG68.hierarchy.parent(0, 0)] += 1
    moved = (local(parts, lifted) - local(parts, above)).abs().sum(dim=-1)[0] > 1e-6
    assert {i for i in range(68) if moved[i]} == set(regions.parts[IBUG68.hierarchy.parent(0, 0)].points)


def test_the_papers_memory_is_a_tanh_of_features_and_of_itself() -> None:
    memory = RNNMemory(6, 4)
    tokens, before = torch.randn(2, 3, 2), torch.randn(2, 4)
    by_hand = torch.tanh(memory.fc(torch.cat([tokens.reshape(2, 6), before], dim=1)))
    torch.testing.assert_close(memory(tokens, before), by_hand)


def test_coordinates_run_from_minus_one_to_one_x_before_y() -> None:
    maps = Coordinates(3)(torch.zeros(2, 1, 3, 3))
    assert maps.shape == (2, 3, 3, 3)
    assert maps[1, 1].tolist() == [[-1, 0, 1]] * 3
    assert maps[1, 2].tolist() == [[-1] * 3, [0] * 3, [1] * 3]
