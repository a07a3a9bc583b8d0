"""`unveil prepare detection`: photographs of several people with a teacher's labels, to train a face detector."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

if TYPE_CHECKING:
    from unveil.data.detection.groups import GroupPhoto


@dataclass(frozen=True)
class Detection:
    """Label photographs of several people, for `unveil train detector --groups`.

    A detector runs on every photograph in four turns and at two scales, and an aligner predicts the landmarks. Faces
    that one view alone contains, or with a low score, become regions that training ignores.
    """

    root: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder of photographs."""
    out: Annotated[Path, tyro.conf.arg(metavar="FILE")]
    """The file to write; it is written completely or not at all."""
    side: int = 640
    """Longest side of a stored photograph in pixels; larger ones are reduced."""
    quality: int = 92
    """JPEG quality, 0 to 100."""
    detector_model: Annotated[str, tyro.conf.arg(metavar="NAME|DIR")] = "detector"
    """The teacher: a shipped detector, or the folder of an exported one."""
    min_score: float = 0.6
    """Score from which a face is labelled; between half of it and this, it is ignored."""
    model: Annotated[str, tyro.conf.arg(metavar="NAME|PATH")] = "glomface-light"
    """The landmark model."""


def write_detection(options: Detection, progress: Callable[[int, int], None]) -> str:
    """Label the photographs and write the file.

    Args:
        options: The command's options.
        progress: Called with the number of photographs done and of all.

    Returns:
        A line that describes the file.
    """
    import cv2
    import numpy as np

    from unveil.data.detection.groups import write_groups
    from unveil.data.detection.labelling import label_photo
    from unveil.inference.detector import FaceDetector
    from unveil.inference.pipeline import Pipeline
    from unveil.io.image_sources import list_images
    from unveil.io.images import read_image
    from unveil.types import Detection as Found
    from unveil.types import Image, Points

    detector = FaceDetector(options.detector_model, options.min_score / 2)
    pipeline = Pipeline(options.model, None)
    paths = list_images(options.root)
    faces = ignored = 0

    def align(image_rgb: Image, found: Found) -> Points:
        return pipeline.align(image_rgb, [found])[0].landmarks

    def photos() -> Iterator["GroupPhoto"]:
        nonlocal faces, ignored
        for done, path in enumerate(paths, start=1):
            image = read_image(path)
            scale = options.side / max(image.shape[:2])
            if scale < 1:
                image = np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
            name = path.relative_to(options.root).with_suffix("").as_posix()
            photo = label_photo(name, image, detector.detect, align, min_score=options.min_score)
            faces, ignored = faces + len(photo.landmarks), ignored + len(photo.ignored)
            progress(done, len(paths))
            yield photo

    count = write_groups(photos(), pipeline.model.scheme, options.out, options.quality)
    return f"{options.out}: {count} photographs, {faces} faces, {ignored} regions to ignore"
