"""Coupled alignment and restoration: S_{t+1} = S_t + Φ_t(φ(I, S_t)), with I restored around S_t at each step.

L landmarks. Any restorer can precede DRN, SDM, PFLD or an exported model; all have the interface of `AlignmentModel`.
Needs torch.

Source:
    GAN-IA, section 3.4.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from safetensors import safe_open

from unveil.baselines.drn import Drn
from unveil.baselines.exported_cascade import Cascade, is_cascade, load_cascade
from unveil.baselines.networks import BASELINES
from unveil.baselines.pfld import Pfld
from unveil.baselines.shape_indexed import Crops, Restore, Shapes, cascade
from unveil.geometry import Crop
from unveil.inference.aligner import Aligner, AlignmentModel, AlignResult, model_input
from unveil.inference.blending import replace_occluded
from unveil.inference.onnx_model import shipped_models
from unveil.inference.restorer import Restorer
from unveil.models.checkpoints import NETWORKS, load_network
from unveil.models.network import LandmarkNetwork, NetworkSpec
from unveil.schemes.scheme import IBUG68
from unveil.training.restored_views import of_stage
from unveil.types import Box, Detection, Image, Points

ITERATIONS = 2  # of a network without stages: first in the given box, then around its own landmarks

RestoreFn: TypeAlias = Callable[[Image, Points], Image]
"""From an image and the current landmarks of a face, (L, 2) in pixels, to the image without occluders."""

Restores: TypeAlias = RestoreFn | Sequence[RestoreFn] | None
"""One for all stages, or one for each: the last one is for all stages from its own on. None restores nothing."""


def restore_fn(restorer: Restorer) -> RestoreFn:
    """Return a function that restores a face of scheme ibug68 as `unveil restore` does.

    Args:
        restorer: One network of the whole face, or one for each component.
    """

    def restore(image_rgb: Image, points_px: Points) -> Image:
        (crops,) = restorer.restore_each([image_rgb], [points_px], IBUG68)
        return replace_occluded(image_rgb, crops)

    return restore


def coupled(model: str | Path, restore: Restores = None, *, iterations: int = ITERATIONS, threads: int = 1) -> Aligner:
    """Return a landmark network as an aligner that gets restored faces.

    Args:
        model: A run of a landmark network, or a model that ships or was exported.
        restore: Restores the face before every stage of DRN and SDM, and `iterations` times for the others; None: the
            network without restoration.
        iterations: 1 or more.
        threads: Of an exported network.

    Raises:
        ValueError: It is another network; the message names the file.
    """
    folder = Path(model)
    if is_cascade(folder):
        return staged(load_cascade(folder, threads), restore)
    if str(model) in shipped_models() or (folder / "model.onnx").is_file():
        return alternating(AlignmentModel.load(model, threads), restore, iterations)
    file = folder / "best.safetensors" if folder.is_dir() else folder
    network, spec = load_network(file, {**NETWORKS, **BASELINES})
    if isinstance(network, Drn):
        cascade_of = Cascade(network.mean_shape.numpy(), network.as_stages(), spec.input_size, spec.margin)
        return staged(cascade_of, restore)
    if isinstance(network, Pfld | LandmarkNetwork):
        return alternating(direct(network, spec), restore, iterations)
    raise ValueError(f"{file}: a network {spec.network!r}; export it and name the exported folder")


def staged(network: Cascade, restore: Restores = None) -> Aligner:
    """Return DRN or SDM as an aligner: from its mean shape in the box, stage after stage.

    Args:
        network: The cascade.
        restore: Restores the face before every stage.
    """

    def align_face(image_rgb: Image, box: Box) -> Points:
        crop = Crop.around(box, network.margin)

        def crops_of(one: RestoreFn) -> Restore:
            def restored_crops(_: Crops, shapes: Shapes) -> Crops:
                return crop.extract(one(image_rgb, crop.to_px(shapes[0])), network.input_size)[None]

            return restored_crops

        crops = crop.extract(image_rgb, network.input_size)[None]
        shapes = cascade(crops, network.start[None], network.stages, [crops_of(one) for one in _as_sequence(restore)])
        return crop.to_px(shapes[-1, 0])

    def align(image_rgb: Image, faces: Sequence[Box | Detection], flip_average: bool = False, /) -> list[AlignResult]:
        _require_no_mirror(flip_average)
        return [AlignResult(align_face(image_rgb, box), None, None) for box in _boxes(faces)]

    return align


def direct(network: Pfld | LandmarkNetwork, spec: NetworkSpec) -> Aligner:
    """Return a network without stages as an aligner, without restoration.

    Args:
        network: The network.
        spec: Its input.
    """

    def align(image_rgb: Image, faces: Sequence[Box | Detection], flip_average: bool = False, /) -> list[AlignResult]:
        _require_no_mirror(flip_average)
        crops = [Crop.around(box, spec.margin) for box in _boxes(faces)]
        with torch.no_grad():
            images = torch.from_numpy(model_input(image_rgb, crops, spec.input_size))
            points_unit = network.landmarks(images).numpy()
        return [AlignResult(crop.to_px(points), None, None) for crop, points in zip(crops, points_unit, strict=True)]

    return align


def alternating(model: Aligner, restore: Restores, iterations: int = ITERATIONS) -> Aligner:
    """Return an aligner that restores around the mean shape in the box, aligns, and repeats around the result.

    The model gets the same box each time, so that only the restoration makes a difference.

    Args:
        model: The model.
        restore: None returns the model.
        iterations: 1 or more.

    Raises:
        ValueError: Less than one iteration.
    """
    if iterations < 1:
        raise ValueError(f"{iterations} iterations: give 1 or more")
    restores = _as_sequence(restore)
    if not restores:
        return model
    start = mean_face()

    def align_face(image_rgb: Image, box: Box, flip_average: bool) -> AlignResult:
        points_px = Crop.around(box).to_px(start)
        for iteration in range(iterations):
            restored = of_stage(restores, iteration)(image_rgb, points_px)
            (result,) = model(restored, [box], flip_average)
            points_px = result.points_px
        return result

    return lambda image_rgb, boxes, flip_average=False, /: [
        align_face(image_rgb, box, flip_average) for box in _boxes(boxes)
    ]


def mean_face() -> Points:
    """Return the mean shape of `glomface-light`, (68, 2) in unit coordinates, for networks that have none."""
    with safe_open(shipped_models()["glomface-light"] / "model.safetensors", framework="np") as file:
        return np.asarray(file.get_tensor("mean_shape"), np.float32)


def _as_sequence(restore: Restores) -> Sequence[RestoreFn]:
    return (restore,) if callable(restore) else restore or ()


def _boxes(faces: Sequence[Box | Detection]) -> list[Box]:
    return [face.box if isinstance(face, Detection) else face for face in faces]


def _require_no_mirror(flip_average: bool) -> None:
    if flip_average:
        raise ValueError("a network that is run from its weights has no mirror averaging; leave it out")
