"""The pipeline from an image to its faces: detect, align, estimate the pose, and restore what is occluded."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np

from unveil.geometry import tight_box
from unveil.inference.aligner import BATCH_SIZE, AlignmentModel, AlignResult
from unveil.inference.blending import Check, blend
from unveil.inference.detector import Detector, DetectorName, load_detector
from unveil.inference.external_detectors import MIN_SCORE
from unveil.inference.onnx_model import Provider
from unveil.inference.restorer import Restored, Restorer
from unveil.io.boxes import check_box
from unveil.schemes.pose import five_points, head_pose, upright_crop
from unveil.schemes.scheme import SCHEMES, Scheme
from unveil.types import Box, Detection, Face, Image, Points


class Pipeline:
    """Detect and align the faces of an image. `restore` also removes what occludes them.

    Args:
        model: Name of a shipped landmark model, the folder of a model, or a loaded model.
        detector: Name of a detector, a detector of your own, or None if you always give boxes.
        restorer: Name of a shipped restorer, the folder of a restorer, or a loaded restorer. Needed by `restore`.
        detector_model: Weights of the detector `yunet`.
        min_score: Detections with a lower score, in [0, 1], are left out.
        threads: Number of threads of each network.
        provider: Execution provider of onnxruntime, `cpu` or `cuda`.

    Raises:
        ModelError: A model cannot be loaded.
        DetectorError: The detector cannot be loaded.

    Example:
        >>> import unveil
        >>> pipeline = unveil.Pipeline()
        >>> image_rgb = unveil.read_image("photo.jpg")
        >>> for face in pipeline(image_rgb):
        ...     print(face.box, face.landmarks.shape, face.visibility)
        >>> faces = pipeline(image_rgb, boxes=[(178, 91, 269, 177)], flip_average=True)
    """

    def __init__(
        self,
        model: str | Path | AlignmentModel = "glomface-light",
        detector: DetectorName | Detector | None = "unveil",
        *,
        restorer: str | Path | Restorer | None = None,
        detector_model: Path | None = None,
        min_score: float = MIN_SCORE,
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

    def __call__(
        self,
        image_rgb: Image,
        boxes: Sequence[Box | Sequence[float]] | None = None,
        *,
        flip_average: bool = False,
    ) -> list[Face]:
        """Detect and align the faces of an image.

        Args:
            image_rgb: RGB image (H, W, 3) of uint8.
            boxes: Tight landmark boxes (x0, y0, x1, y1) in pixels. If given, no detector runs and the faces are in the
                order of the boxes.
            flip_average: Also align the mirrored faces and return the mean: twice the time, a slightly lower error.

        Returns:
            The faces, best score first, in pixels of the image.

        Raises:
            ValueError: The image is not RGB of 8 bits, or a box is not finite, is empty or lies outside the image.
        """
        return self.align(image_rgb, self._detections(image_rgb, boxes), flip_average)

    def restore(
        self,
        image_rgb: Image,
        boxes: Sequence[Box | Sequence[float]] | Sequence[Detection] | None = None,
        *,
        flip_average: bool = False,
        check: Check | None = None,
    ) -> Restored:
        """Remove what occludes the faces of an image.

        Pixels outside the result's mask are unchanged. A face that nothing occludes is unchanged.

        Args:
            image_rgb: RGB image (H, W, 3) of uint8.
            boxes: Tight landmark boxes (x0, y0, x1, y1) in pixels, or the faces that a detector found, instead of
                detected faces.
            flip_average: Also align the mirrored faces and return the mean.
            check: Called between the steps of each face. It raises to stop the work, at a deadline for example.

        Returns:
            The restored image, its mask, and the faces before and after.

        Raises:
            ValueError: As for a call, or the pipeline has no restorer.
        """
        if self.restorer is None:
            raise ValueError("this pipeline has no restorer; build it with restorer=, a restorer's name or folder")
        detections = self._detections(image_rgb, boxes)
        before = self.align(image_rgb, detections, flip_average, check)
        landmarks, visibility = [face.landmarks for face in before], [face.visibility for face in before]
        crops = self.restorer(image_rgb, landmarks, self.model.scheme, visibility=visibility, check=check)
        image, mask = blend(image_rgb, crops, check)
        after = self.align(image, detections, flip_average, check) if mask.any() else before
        return Restored(image, mask, before, after)

    def _detections(
        self, image_rgb: Image, boxes: Sequence[Box | Sequence[float]] | Sequence[Detection] | None
    ) -> list[Detection]:
        check_image(image_rgb)
        if boxes is None:
            return self.detect(image_rgb)
        given = list(boxes)
        if all(isinstance(one, Detection) for one in given):
            return cast(list[Detection], given)
        detections = [Detection(box, 1.0) for box in as_boxes(cast(list[Sequence[float]], given))]
        for detection in detections:
            check_box(detection.box, image_rgb.shape[1], image_rgb.shape[0])
        return detections

    def detect(self, image_rgb: Image) -> list[Detection]:
        """Detect the faces of an image, with boxes that fit the model's landmarks.

        Args:
            image_rgb: RGB image (H, W, 3) of uint8.

        Returns:
            The faces, best score first, in pixels of the image.

        Raises:
            ValueError: The pipeline has no detector, or its boxes do not fit the model's landmarks.
        """
        if self.detector is None:
            raise ValueError("this pipeline has no detector; give boxes, or build it with detector='unveil'")
        return [fit_detection(detection, self.model.scheme) for detection in self.detector(image_rgb)]

    def align(
        self,
        image_rgb: Image,
        detections: Sequence[Detection],
        flip_average: bool = False,
        check: Check | None = None,
    ) -> list[Face]:
        """Align detected faces.

        Args:
            image_rgb: RGB image (H, W, 3) of uint8.
            detections: The faces, in pixels of the image.
            flip_average: Also align the mirrored faces and return the mean.
            check: Called before each batch of faces. It raises to stop the work, at a deadline for example.

        Returns:
            One face for each detection, in order.
        """
        faces, size = list[Face](), len(detections) if check is None else BATCH_SIZE
        for start in range(0, len(detections), max(1, size)):
            if check is not None:
                check()
            batch = detections[start : start + size]
            results = self.model(image_rgb, batch, flip_average)
            faces += [self._face(detection, result) for detection, result in zip(batch, results, strict=True)]
        return faces

    def realign(self, image_rgb: Image, landmarks_px: Sequence[Points], flip_average: bool = False) -> list[Face]:
        """Align faces whose approximate landmarks are known, for example from the previous frame of a video.

        The crop of each face is turned upright by the roll of its landmarks.

        Args:
            image_rgb: RGB image (H, W, 3) of uint8.
            landmarks_px: For each face, its approximate landmarks (L, 2) in pixels of the image.
            flip_average: Also align the mirrored faces and return the mean.

        Returns:
            One face for each set of landmarks, in order, with score 1, without pose and five points.
        """
        crops = [upright_crop(points_px, self.model.scheme, self.model.config.margin) for points_px in landmarks_px]
        results = self.model(image_rgb, crops, flip_average)
        return [
            Face(tight_box(points_px), 1.0, result.points_px, result.visibility, result.uncertainty_px, None, None)
            for points_px, result in zip(landmarks_px, results, strict=True)
        ]

    def _face(self, detection: Detection, result: AlignResult) -> Face:
        scheme = self.model.scheme
        five = None if scheme.five_points is None else five_points(scheme, result.points_px)
        return Face(
            box=detection.box,
            score=detection.score,
            landmarks=result.points_px,
            visibility=result.visibility,
            uncertainty=result.uncertainty_px,
            pose=None if five is None else head_pose(five),
            five_points=five,
        )


def fit_detection(detection: Detection, scheme: Scheme) -> Detection:
    """Return a detection whose box fits the landmarks of a scheme: detectors return the box of the 68 points.

    Args:
        detection: The detection.
        scheme: The scheme.

    Raises:
        ValueError: The scheme has other landmarks than the five points, or the detection has no points.
    """
    if scheme.name in SCHEMES:
        return detection
    covered = {i for indices in scheme.five_points or () for i in indices}
    if detection.points is None or len(covered) < scheme.points:
        raise ValueError(
            f"detected boxes do not fit scheme {scheme.name!r}; give boxes of its landmarks "
            "(a detector with points fits them if all landmarks are among the five points)"
        )
    return detection._replace(box=tight_box(detection.points))


def as_boxes(boxes: Sequence[Box | Sequence[float]]) -> list[Box]:
    """Convert a list of boxes.

    Args:
        boxes: F boxes of four numbers, x0, y0, x1, y1, in pixels; an array (F, 4) too.

    Returns:
        The boxes.

    Raises:
        ValueError: It is one box instead of a list, or an entry is not four numbers.
    """
    converted = []
    for i, box in enumerate(boxes):
        numbers = np.asarray(box, object)
        if numbers.ndim == 0:
            raise ValueError(
                f"boxes: {np.asarray(boxes, object).tolist()!r:.60} is one box; give a list of boxes, [box]"
            )
        if numbers.shape != (4,):
            raise ValueError(f"boxes[{i}]: an entry of shape {numbers.shape}; give four numbers, x0, y0, x1, y1")
        try:
            converted.append(Box(*(float(number) for number in numbers)))
        except (TypeError, ValueError):
            raise ValueError(f"boxes[{i}]: {numbers.tolist()!r:.60}; give four numbers, x0, y0, x1, y1") from None
    return converted


def check_image(image_rgb: Image) -> None:
    """Check that an array is an RGB image (H, W, 3) of uint8.

    Args:
        image_rgb: The array.

    Raises:
        ValueError: It is not, or it is empty.
    """
    if not isinstance(image_rgb, np.ndarray) or image_rgb.dtype != np.uint8 or image_rgb.shape[2:] != (3,):
        kind = f"{image_rgb.dtype} {image_rgb.shape}" if isinstance(image_rgb, np.ndarray) else type(image_rgb).__name__
        raise ValueError(f"expected an RGB image (H, W, 3) of uint8, got {kind}; unveil.read_image returns one")
    if not image_rgb.size:
        raise ValueError(f"an empty image of {image_rgb.shape[0]} x {image_rgb.shape[1]} pixels")
