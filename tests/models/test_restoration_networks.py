"""What the networks of GAN-IA and DRDA keep, at reduced width."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from unveil.baselines.drda import DecorruptAutoencoder
from unveil.models.conv_norm import fold_norms
from unveil.models.discriminators import (
    Discriminators,
    DiscriminatorTrunk,
    extract_patches,
    patch_corners,
    random_corners,
)
from unveil.models.generator import GENERATORS, Generator, GeneratorConfig, GeneratorOutput, PositionEmbedding
from unveil.models.layers import SelfAttention
from unveil.schemes.ibug68 import COMPONENTS, component_crop
from unveil.schemes.scheme import IBUG68
from unveil.training.gan_losses import discriminator_loss, mask_loss, reconstruction_loss

SMALL = GENERATORS["gan-ia"].scaled(1 / 8)
SMALL_LIGHT = GENERATORS["gan-ia-light"].scaled(1 / 8)


def generator(sizes: GeneratorConfig = SMALL) -> Generator:
    torch.manual_seed(0)
    return Generator(sizes)


def used(network: Generator) -> Generator:
    """With statistics of its norms and a self-attention that are not those of a fresh network."""
    with torch.no_grad():
        network.train()(torch.rand(4, network.channels, 32, 32))
        if isinstance(network.attention, SelfAttention):
            network.attention.gamma.fill_(0.5)
    return network.eval()


def unreached(network: nn.Module) -> list[str]:
    return [name for name, weight in network.named_parameters() if weight.grad is None]


def pooling(network: nn.Module) -> list[str]:
    return [type(module).__name__ for module in network.modules() if "Pool" in type(module).__name__]


@pytest.mark.parametrize("sizes", [SMALL, SMALL_LIGHT], ids=["paper", "light"])
@pytest.mark.parametrize("faces", [1, 3])
def test_a_generator_restores_faces_and_every_weight_learns(sizes: GeneratorConfig, faces: int) -> None:
    network = generator(sizes)
    images = torch.rand(faces, network.channels, 32, 32)
    found: GeneratorOutput = network(images)
    assert found.restored.shape == found.composite(images).shape == (faces, 3, 32, 32)
    assert found.mask_logits.shape == (faces, 1, 32, 32)
    assert bool(((found.restored >= 0) & (found.restored <= 1)).all())
    mask = (torch.rand(faces, 1, 32, 32) < 0.3).float()
    loss = reconstruction_loss(found.restored, images[:, :3], mask, 2.0) + mask_loss(found.mask_logits, mask)
    loss.backward()  # type: ignore[no-untyped-call]
    assert unreached(network) == []


def test_only_what_is_covered_is_replaced() -> None:
    images, restored = torch.full((1, 3, 1, 2), 0.2), torch.full((1, 3, 1, 2), 0.6)
    logits = torch.tensor([-200.0, 200.0]).reshape(1, 1, 1, 2)
    composed = GeneratorOutput(restored, logits).composite(images)
    torch.testing.assert_close(composed[0, :, 0, 0], images[0, :, 0, 0], atol=0, rtol=0)
    torch.testing.assert_close(composed[0, :, 0, 1], restored[0, :, 0, 1])


def test_a_face_is_restored_alike_alone_and_in_a_batch() -> None:
    network = used(generator())
    images = torch.rand(3, 3, 32, 32)
    with torch.no_grad():
        together, alone = network(images).restored[1], network(images[1:2]).restored[0]
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


def test_the_middle_is_dilated_as_in_the_paper_and_nothing_pools() -> None:
    network = Generator(GeneratorConfig())
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    assert [conv.dilation[0] for conv in convolutions if conv.dilation != (1, 1)] == [2, 4, 8, 16]
    assert sum(conv.stride == (2, 2) for conv in convolutions) == 2
    deconvolutions = [module for module in network.modules() if isinstance(module, nn.ConvTranspose2d)]
    assert [(conv.kernel_size, conv.stride, conv.out_channels) for conv in deconvolutions] == [
        ((4, 4), (2, 2), 128),
        ((4, 4), (2, 2), 64),
    ]
    assert pooling(network) == pooling(Discriminators(32, 16)) == []


def test_every_scale_is_handed_on_beside_the_map_from_below() -> None:
    network = generator()
    network.encoder.requires_grad_(False)
    maps = [map_.detach().requires_grad_() for map_ in network.encoder(torch.rand(1, 3, 32, 32))]
    from_below = torch.rand_like(maps[-1])
    network.decoder(from_below, maps).square().sum().backward()
    assert [map_.shape[-1] for map_ in maps] == [32, 16, 8]
    assert all(map_.grad is not None and float(map_.grad.abs().sum()) > 0 for map_ in maps)


def test_fresh_self_attention_passes_its_input_through() -> None:
    x = torch.randn(2, 16, 4, 4)
    torch.testing.assert_close(SelfAttention(16)(x), x, atol=0, rtol=0)


def test_self_attention_averages_h_by_the_softmax_of_f_and_g() -> None:
    attention = SelfAttention(8)
    for layer, weight in ((attention.f, 1.0), (attention.g, 1.0)):
        assert isinstance(layer, nn.Conv2d)
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        with torch.no_grad():
            layer.weight[0, 0] = weight  # f and g read the first channel
    assert isinstance(attention.h, nn.Conv2d)
    with torch.no_grad():
        attention.h.weight.copy_(torch.eye(8)[:, :, None, None])
        attention.h.bias.zero_()  # type: ignore[union-attr]
        attention.gamma.fill_(2.0)
    x = torch.zeros(1, 8, 1, 2)
    x[0, 0] = torch.tensor([[0.0, 1.0]])
    # The place of 0 attends to both equally: 1/2. The place of 1 attends to 0 and 1 as exp(0) to exp(1).
    expected = torch.tensor([0 + 2 * 0.5, 1 + 2 * np.e / (1 + np.e)], dtype=torch.float32)
    torch.testing.assert_close(attention(x)[0, 0, 0], expected)


def test_the_position_map_has_the_place_in_the_crop_at_any_size() -> None:
    places = PositionEmbedding(2, 4)
    x = torch.rand(1, 2, 8, 8)
    assert torch.equal(places(x), x)
    with torch.no_grad():
        places.map[0, 1, 3, 0] = 1.0
    for side in (4, 8):
        predicted = places(torch.zeros(1, 2, side, side))
        assert predicted[0, 1].argmax() == side * (side - 1)
        assert predicted[0, 0].abs().max() == 0


def test_self_attention_can_be_left_out() -> None:
    without = generator(SMALL.model_copy(update={"attention": False}))
    assert not any(isinstance(module, SelfAttention) for module in without.modules())


def test_folded_norms_change_nothing() -> None:
    network = used(generator())
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        before = network(images)
        after = fold_norms(network)(images)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    torch.testing.assert_close(after.restored, before.restored, atol=1e-5, rtol=1e-4)
    with pytest.raises(ValueError, match="Generator is in training mode"):
        fold_norms(generator().train())


@pytest.mark.parametrize(
    "network",
    [used(generator()), Discriminators(32, 16, width=1 / 16).eval(), DecorruptAutoencoder(size=8, hidden=(16, 4))],
    ids=["generator", "discriminators", "autoencoder"],
)
def test_saved_weights_load_into_the_same_network(network: nn.Module, tmp_path: Path) -> None:
    save_file(network.state_dict(), tmp_path / "network.safetensors")
    kept = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(1)
    network.load_state_dict(load_file(tmp_path / "network.safetensors"))
    assert all(torch.equal(tensor, kept[name]) for name, tensor in network.state_dict().items())


def test_onnx_restores_what_torch_restores_for_any_number_of_faces(tmp_path: Path) -> None:
    network = fold_norms(used(generator(SMALL_LIGHT)))
    path = tmp_path / "generator.onnx"
    with pytest.warns():  # the exporter warns of its own deprecations
        torch.onnx.export(
            network,
            (torch.zeros(2, 4, 32, 32),),
            path,
            input_names=["images"],
            output_names=["restored", "mask_logits"],
            dynamic_shapes={"images": {0: torch.export.Dim("faces", min=1, max=4096)}},
            opset_version=20,
            dynamo=True,
            verbose=False,
        )
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for faces in (1, 3):
        images = torch.rand(faces, 4, 32, 32)
        with torch.no_grad():
            expected = network(images)
        for ours, theirs in zip(expected, session.run(None, {"images": images.numpy()}), strict=True):
            np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-4)


def test_the_light_generator_keeps_its_budget() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    network = Generator(GENERATORS["gan-ia-light"]).eval()
    assert sum(weight.numel() for weight in network.parameters()) <= 3.9e6  # 8 MB of float16
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.rand(1, network.channels, 128, 128))
    assert counter.get_total_flops() <= 3.5e9


@pytest.mark.parametrize("faces", [1, 3])
@pytest.mark.parametrize("joint", [False, True], ids=["apart", "joint"])
def test_both_discriminators_have_a_logit_and_every_weight_has_a_gradient(faces: int, joint: bool) -> None:
    network = Discriminators(64, 32, width=1 / 16, joint=joint)
    output = network(torch.rand(faces, 3, 64, 64), torch.rand(faces, 3, 32, 32))
    assert output.global_logits.shape == output.local_logits.shape == (faces,)
    assert torch.equal(output.global_logits, output.local_logits) == joint
    torch.stack(discriminator_loss(output, output)).sum().backward()  # type: ignore[no-untyped-call]
    assert unreached(network) == []


@pytest.mark.parametrize(("size", "channels"), [(256, [64, 128, 256, 512, 512, 512]), (64, [64, 128, 256, 512])])
def test_a_discriminator_halves_down_to_four_pixels(size: int, channels: list[int]) -> None:
    trunk = DiscriminatorTrunk(size, spectral=False, attention=False)
    convolutions = [module for module in trunk.modules() if isinstance(module, nn.Conv2d)]
    assert [conv.out_channels for conv in convolutions] == channels
    assert all(conv.kernel_size == (5, 5) and conv.stride == (2, 2) for conv in convolutions)
    assert [layer.out_features for layer in trunk.modules() if isinstance(layer, nn.Linear)] == [1024]


def test_a_side_that_cannot_be_halved_is_one_clear_line() -> None:
    assert DiscriminatorTrunk(96, width=1 / 16)(torch.rand(1, 3, 96, 96))[0].shape == (1, 64)
    with pytest.raises(ValueError, match="discriminator of 100 px: give 16 to 511 px that halve down to 4 to 7"):
        DiscriminatorTrunk(100)


@pytest.mark.parametrize("faces", [1, 3])
def test_a_second_stage_starts_as_the_upsampled_first_one_and_learns(faces: int) -> None:
    sizes = SMALL_LIGHT.model_copy(update={"input_size": 64, "refine_channels": 8, "mirror": True})
    network = generator(sizes).eval()
    images = torch.rand(faces, 4, 64, 64)
    output = network(images)
    assert output.restored.shape == (faces, 3, 64, 64)
    halved = torch.nn.functional.avg_pool2d(images, 2)
    coarse = network(halved, coarse_only=True)
    assert coarse.restored.shape == (faces, 3, 32, 32)
    means = [torch.nn.functional.avg_pool2d(logits, 2) for logits in (output.mask_logits,)]
    torch.testing.assert_close(
        means[0][..., 1:-1, 1:-1], _blurred(coarse.mask_logits)[..., 1:-1, 1:-1], atol=1e-4, rtol=1e-3
    )
    network.train()(images).restored.sum().backward()
    assert unreached(network) == []


def _blurred(maps: torch.Tensor) -> torch.Tensor:
    """What bilinear upsampling by two and averaging by two do together."""
    doubled = torch.nn.functional.interpolate(maps, scale_factor=2.0, mode="bilinear", align_corners=False)
    return torch.nn.functional.avg_pool2d(doubled, 2)


def test_the_patch_lies_round_the_mask_and_inside_the_image() -> None:
    mask = torch.zeros(3, 1, 16, 16)
    mask[0, 0, 4:8, 6:10] = 1  # centre 5.5, 7.5
    mask[1, 0, 15, 0] = 1
    assert patch_corners(mask, 4).tolist() == [[4, 6], [12, 0], [6, 6]]


def test_a_patch_is_cut_by_whole_pixels_and_lets_gradients_through() -> None:
    images = torch.rand(2, 3, 16, 16, requires_grad=True)
    patches = extract_patches(images, torch.tensor([[4, 6], [0, 12]]), 4)
    assert torch.equal(patches[0], images[0, :, 4:8, 6:10])
    assert torch.equal(patches[1], images[1, :, 0:4, 12:16])
    patches.sum().backward()  # type: ignore[no-untyped-call]
    assert images.grad is not None
    assert float(images.grad.sum()) == 2 * 3 * 16


def test_random_patches_stay_in_the_image_and_follow_the_generator() -> None:
    corners = random_corners(200, 16, 4, torch.Generator().manual_seed(1))
    assert (int(corners.min()), int(corners.max())) == (0, 12)
    assert torch.equal(corners, random_corners(200, 16, 4, torch.Generator().manual_seed(1)))


@pytest.mark.parametrize("faces", [1, 3])
def test_the_autoencoder_restores_a_component(faces: int) -> None:
    network = DecorruptAutoencoder(size=8, hidden=(16, 4))
    images = torch.rand(faces, 3, 8, 8)
    restored = network(images)
    assert restored.shape == images.shape
    (restored - images).square().mean().backward()
    assert unreached(network) == []
    widths = [(layer.in_features, layer.out_features) for layer in network.modules() if isinstance(layer, nn.Linear)]
    assert widths == [(192, 16), (16, 4), (4, 16), (16, 192)]


def test_the_seven_components_hold_every_landmark_once() -> None:
    assert len(COMPONENTS) == 7
    assert sorted(i for part in COMPONENTS for i in part.points) == list(range(IBUG68.points))
    points = np.random.default_rng(0).uniform(0, 100, (68, 2)).astype(np.float32)
    for part in COMPONENTS:
        assert np.abs(component_crop(points, part).to_unit(points[list(part.points)])).max() < 1
