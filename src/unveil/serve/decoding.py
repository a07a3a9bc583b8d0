"""One image of a request: decoded, reduced to a size that may be processed, and its faces in pixels of the original."""

import math
import threading
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

import cv2
import numpy as np

from unveil.io.images import ImageError, decode_image
from unveil.serve.limits import Limits, RequestError
from unveil.serve.options import check_boxes
from unveil.serve.uploads import Upload, check_header
from unveil.types import Box, Face, Image, Points

_decoding_large = threading.Lock()  # images that are scaled down are decoded one at a time, since each is large


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """An image at the size that is processed, and its width and height as it was sent.

    Args:
        name: The client's file name.
        image_rgb: RGB image (H, W, 3) at the size that is processed.
        width: Width of the sent image in pixels.
        height: Height of the sent image in pixels.
        boxes: Boxes in pixels of the sent image; None if faces are to be detected.
    """

    name: str
    image_rgb: Image
    width: int
    height: int
    boxes: list[Box] | None

    @property
    def scale(self) -> float:
        """Pixels of the processed image for one of the sent image."""
        return float(self.image_rgb.shape[1] / self.width)

    def as_sent(self, faces: Sequence[Face]) -> list[Face]:
        """Return faces in pixels of the image as it was sent.

        Args:
            faces: Faces in pixels of the image that is processed.
        """
        if self.image_rgb.shape[:2] == (self.height, self.width):
            return list(faces)
        ratio = 1 / self._ratio()
        return [
            replace(
                face,
                box=_scaled_box(face.box, ratio),
                landmarks=_scaled(face.landmarks, ratio),
                uncertainty=None if face.uncertainty is None else face.uncertainty / np.float32(self.scale),
                five_points=None if face.five_points is None else _scaled(face.five_points, ratio),
            )
            for face in faces
        ]

    def boxes_here(self) -> list[Box] | None:
        """Return the boxes in pixels of the image that is processed."""
        return None if self.boxes is None else [_scaled_box(box, self._ratio()) for box in self.boxes]

    def _ratio(self) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
        return np.array([self.image_rgb.shape[1] / self.width, self.image_rgb.shape[0] / self.height])


def decode_upload(upload: Upload, boxes: list[Box] | None, limits: Limits) -> DecodedImage:
    """Decode an image at a size that may be processed.

    Args:
        upload: The image.
        boxes: Its boxes in pixels; None if faces are to be detected.
        limits: Limits of one request.

    Returns:
        The image, reduced if it has too many pixels.

    Raises:
        RequestError: 400, 413 or 415 if it cannot be decoded, 422 if a box is outside it.
    """
    large = check_header(upload, limits.max_pixels) > limits.pixels
    with _decoding_large if large else nullcontext():
        try:
            image_rgb = decode_image(upload.data, upload.name, lambda _: None)  # a response has no place for warnings
        except ImageError as error:
            # OpenCV's own message names its source files.
            text = f"{upload.name}: cannot be decoded; save it as PNG or JPEG"
            raise RequestError(400, "bad_image", text if error.__cause__ else str(error)) from error
        height, width = image_rgb.shape[:2]
        if width * height > limits.pixels:
            scale = math.sqrt(limits.pixels / (width * height))
            size = (max(1, int(width * scale)), max(1, int(height * scale)))
            image_rgb = np.asarray(cv2.resize(image_rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
    check_boxes(boxes, width, height)
    return DecodedImage(upload.name, image_rgb, width, height, boxes)


def _scaled(points_px: Points, ratio: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> Points:
    """Scale points. Pixel centres lie at whole numbers, so a scale acts about (-0.5, -0.5)."""
    return np.asarray((points_px + 0.5) * ratio - 0.5, np.float32)


def _scaled_box(box: Box, ratio: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> Box:
    return Box(*((np.array(box).reshape(2, 2) + 0.5) * ratio - 0.5).ravel().tolist())
