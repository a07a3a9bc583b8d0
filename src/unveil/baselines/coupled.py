"""Landmarks and restoration taking turns: S_{t+1} = S_t + Φ_t(φ(I, S_t)), where I is restored round S_t at each step.

GAN-IA's section 3.4: the better the shape, the better the restoration, and the other way round. L landmarks. Any
restorer goes before DRN, SDM, PFLD or an exported model; all are asked as `AlignmentModel` is. Needs torch.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from safetensors import safe_open

from unveil.baselines.drn import Drn
from unveil.baselines.pfld import Pfld
from unveil.baselines.shape_indexed import Crops, Shapes, cascade
from unveil.evaluation.mapping import Aligner
from unveil.geometry import Crop
from unveil.inference.aligner import Alignment, AlignmentModel, model_input, shipped_models
from unveil.inference.blending import RestoredCrop, blended
from unveil.models.checkpoints import Blueprint, load_network
from unveil.models.restorers import FaceRestorer, composed
from unveil.types import Box, Image, Points

TURNS = 2  # looks of a network that has no stages: by the box that it is given, then by its own landmarks

Uncover: TypeAlias = Callable[[Image, Points], Image]
"""A picture and a face's landmarks as they are known so far, (L, 2) in its pixels, to the picture without occluders."""


def uncovering(restorer: FaceRestorer) -> Uncover:
    """The restorer's window blended in as `unveil restore` does; what it does not take for an occluder stays.

    Several windows lie over one another in their order, the jaw's below, as a regressor that trains behind them sees
    them: autoencoders know no mask, so there is nothing to blend into.
    """

    def uncover(image_rgb: Image, points_px: Points) -> Image:
        (windows,) = restorer([image_rgb], [points_px])
        if len(windows) > 1:
            return composed(image_rgb, windows)
        return blended(image_rgb, [RestoredCrop(*window) for window in windows])[0]

    return uncover


def coupled(model: str | Path, uncover: Uncover | None = None, *, turns: int = TURNS, threads: int = 1) -> Aligner:
    """The landmarks of a run of DRN, SDM or PFLD, or of a model that ships or was exported, restored before each look.

    DRN and SDM restore before every stage, the others `turns` times. ValueError, naming the file, for another network.
    """
    folder = Path(model)
    if str(model) in shipped_models() or (folder / "model.onnx").is_file():
        return alternating(AlignmentModel.load(model, threads), uncover, turns)
    file = folder / "best.safetensors" if folder.is_dir() else folder
    network, blueprint = load_network(file)
    if isinstance(network, Drn):
        return staged(network, blueprint, uncover)
    if isinstance(network, Pfld):
        return alternating(direct(network, blueprint), uncover, turns)
    raise ValueError(f"{file}: a network {blueprint.network!r}; export it and name the exported folder")


def staged(network: Drn, blueprint: Blueprint, uncover: Uncover | None = None) -> Aligner:
    """DRN or SDM, from its mean shape in the box, stage after stage."""
    start, stages = network.get_buffer("mean_shape").numpy()[None], network.as_stages()

    def face(image_rgb: Image, box: Box) -> Points:
        crop = Crop.around(box, blueprint.margin)

        def restore(_: Crops, shapes: Shapes) -> Crops:
            assert uncover is not None
            return crop.extract(uncover(image_rgb, crop.to_px(shapes[0])), blueprint.input_size)[None]

        seen = crop.extract(image_rgb, blueprint.input_size)[None]
        return crop.to_px(cascade(seen, start, stages, None if uncover is None else restore)[-1, 0])

    def align(image_rgb: Image, boxes: Sequence[Box], flip_average: bool = False, /) -> list[Alignment]:
        _refuse_mirrors(flip_average)
        return [_alignment(face(image_rgb, box)) for box in boxes]

    return align


def direct(network: Pfld, blueprint: Blueprint) -> Aligner:
    """PFLD as it is: one look at the box's crop."""

    def align(image_rgb: Image, boxes: Sequence[Box], flip_average: bool = False, /) -> list[Alignment]:
        _refuse_mirrors(flip_average)
        crops = [Crop.around(box, blueprint.margin) for box in boxes]
        with torch.no_grad():
            images = torch.from_numpy(model_input(image_rgb, crops, blueprint.input_size))
            points_unit = network.landmarks(images).numpy()
        return [_alignment(crop.to_px(points)) for crop, points in zip(crops, points_unit, strict=True)]

    return align


def alternating(model: Aligner, uncover: Uncover | None, turns: int = TURNS) -> Aligner:
    """Restored round the mean shape in the box, aligned; then restored round what was found and aligned again.

    The model looks at the same box each time, so that it is the restoring alone that makes a difference. Without
    `uncover` the model as it is. ValueError for less than one turn.
    """
    if turns < 1:
        raise ValueError(f"{turns} turns: give 1 or more")
    if uncover is None:
        return model
    start = mean_face()

    def face(image_rgb: Image, box: Box, flip_average: bool) -> Alignment:
        points_px = Crop.around(box).to_px(start)
        for _ in range(turns):
            (found,) = model(uncover(image_rgb, points_px), [box], flip_average)
            points_px = found.points_px
        return found

    return lambda image_rgb, boxes, flip_average=False, /: [face(image_rgb, box, flip_average) for box in boxes]


def mean_face() -> Points:
    """The mean shape that ships with `glomface-light`, (68, 2) in unit coordinates: for networks that have none."""
    with safe_open(shipped_models()["glomface-light"] / "model.safetensors", framework="np") as file:
        return np.asarray(file.get_tensor("mean_shape"), np.float32)


def _alignment(points_px: Points) -> Alignment:
    """Of networks that say nothing of visibility and spread."""
    unsaid = np.full(len(points_px), np.nan, np.float32)
    return Alignment(points_px, unsaid, unsaid)


def _refuse_mirrors(flip_average: bool) -> None:
    if flip_average:
        raise ValueError("DRN, SDM and PFLD are asked once; leave mirror averaging out")
