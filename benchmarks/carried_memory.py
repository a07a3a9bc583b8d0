"""What memory carried from frame to frame is worth: the first paper's future work, tried on the network that ships.

Each frame starts from alpha times the last frame's final memory and shape plus (1 - alpha) times what a still picture
starts from, the features' context and the mean shape. The network was never trained with carried memory, so this says
what it is worth for free, not what it could be worth. B faces, L landmarks.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from benchmarks.clips import FPS, MOVING, OCCLUDED, STILL, Clip, play
from benchmarks.tracking import Found, jitter, lag, nme, smoothed
from torch import Tensor

import unveil
from unveil.geometry import Crop, tight_box
from unveil.inference.onnx_model import shipped_models
from unveil.inference.smoothing import Motion, OneEuroConfig
from unveil.models.checkpoints import load_network
from unveil.models.glomface import GlomFaceLight

ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0)
CLIPS = tuple(replace(clip, seconds=2.5) for clip in (STILL, MOVING[0], MOVING[-1], OCCLUDED[2]))


@dataclass(frozen=True, slots=True, eq=False)
class Carried:
    """A face's memory (1, W) and landmarks in the frame's pixels at the end of a frame."""

    memory: Tensor
    points_px: Found


@torch.no_grad()
def step(network: GlomFaceLight, image: Tensor, carried: Carried | None, crop: Crop, alpha: float) -> Carried:
    """`GlomFaceLight.forward` on one face, (1, 3, H, W), with another start."""
    features, coarse = network.features(image)
    memory, points = network.context(coarse), network.get_buffer("mean_shape")[None]
    if carried is not None:
        memory = torch.lerp(memory, carried.memory, alpha)
        points = torch.lerp(points, torch.from_numpy(crop.to_unit(carried.points_px))[None], alpha)
    for i in range(network.steps):
        mixed = network.part_whole(network.patches(features, points, i))
        memory = network.recall(mixed, memory)
        offsets, _, _ = network.head(mixed, network.disentangle(memory)[0])
        points = points + offsets
    return Carried(memory, crop.to_px(points[0].numpy()))


def follow(network: GlomFaceLight, size: int, margin: float, clip: Clip, alpha: float) -> tuple[Found, Found]:
    """The clip's landmarks as found with this much carried over, and as they are; (N, L, 2) each.

    What is carried is moved as the face is expected to have moved, as a tracker would.
    """
    motion: Motion | None = None
    carried: Carried | None = None
    found, truth = [], []
    for shot in play(clip):
        expected = shot.truth_px if motion is None else motion.predict(shot.time_s)
        crop = Crop.around(tight_box(expected), margin)
        pixels = torch.from_numpy(crop.extract(shot.image_rgb, size)).permute(2, 0, 1)[None] / 255
        before = None if carried is None else Carried(carried.memory, expected)
        carried = step(network, pixels, before, crop, alpha)
        if motion is None:
            motion = Motion.at_rest(carried.points_px, shot.time_s)
        else:
            motion = motion.update(carried.points_px, shot.time_s, None)
        found.append(carried.points_px)
        truth.append(shot.truth_px)
    return np.stack(found), np.stack(truth)


def compare() -> None:
    """Every alpha, raw and smoothed: jitter at rest, lag and error moving, error under a passing bar."""
    torch.set_num_threads(1)
    network, spec = load_network(shipped_models()["glomface-light"] / "model.safetensors")
    assert isinstance(network, GlomFaceLight)
    size, margin = spec.input_size, spec.margin
    print(f"unveil {unveil.__version__}, {FPS} frames/s; never trained with carried memory")
    print(f"{'alpha':<18}{'jitter %':>9}{'worst lag':>11}{'NME % moving':>14}{'under a bar':>13}")
    for alpha in ALPHAS:
        raw = [follow(network, size, margin, clip, alpha) for clip in CLIPS]
        for settings in (None, OneEuroConfig()):
            still, *moving, barred = ((smoothed(found, settings), truth) for found, truth in raw)
            worst, error = max(lag(*pair) for pair in moving), np.mean([nme(*pair) for pair in moving])
            name = f"{alpha:g} {'raw' if settings is None else 'One-Euro'}"
            print(f"{name:<18}{jitter(*still):>9.3f}{worst:>11.1f}{error:>14.2f}{nme(*barred):>13.2f}", flush=True)
