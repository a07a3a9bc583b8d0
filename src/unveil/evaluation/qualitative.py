"""A sheet of images without ground truth: a row for each image, a column for each model. Source: GlomFace, figure 8."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from unveil.geometry import Crop
from unveil.inference.aligner import AlignmentModel, AlignResult
from unveil.inference.detector import Detector
from unveil.inference.pipeline import fit_detection
from unveil.schemes.scheme import Scheme
from unveil.types import Image

SIDE, MARGIN, GAP, TITLE = 224, 1.5, 4, 24
SUPERSAMPLING = 3
VISIBLE, OCCLUDED, LINE = (0, 158, 115), (213, 94, 0), (240, 240, 240)


class SheetRow(NamedTuple):
    """One face of the sheet.

    Args:
        crop: The part of the image that is shown.
        image: The image, (H, W, 3).
        results: The landmarks of each model.
    """

    crop: Crop
    image: Image
    results: tuple[AlignResult, ...]


def sheet_rows(
    images: Sequence[Image], models: Sequence[AlignmentModel], detector: Detector, flip_average: bool = False
) -> list[SheetRow]:
    """Return the best face of each image aligned by every model; images without a face are left out.

    Args:
        images: RGB, (H, W, 3) each.
        models: The models.
        detector: Finds the faces; all models get the same boxes, except those of a custom scheme.
        flip_average: Average with the mirrored face.
    """
    rows = []
    for image in images:
        detections = detector(image)
        if detections:
            boxes = [fit_detection(detections[0], model.scheme).box for model in models]
            results = tuple(model(image, [box], flip_average)[0] for model, box in zip(models, boxes, strict=True))
            rows.append(SheetRow(Crop.around(detections[0].box, MARGIN), image, results))
    return rows


def qualitative_sheet(rows: Sequence[SheetRow], models: Mapping[str, Scheme]) -> Image:
    """Return a sheet; landmarks that a model predicts to be occluded are orange.

    Args:
        rows: Of `sheet_rows`.
        models: The scheme of each model, by its name.

    Raises:
        ValueError: There are no rows.
    """
    if not rows:
        raise ValueError("no image has a face; give others")
    schemes = models.values()
    tiles = [[tile(row, scheme, one) for scheme, one in zip(schemes, row.results, strict=True)] for row in rows]
    return tile_grid(tiles, list(models))


def tile_grid(rows: Sequence[Sequence[Image]], titles: Sequence[str]) -> Image:
    """Return tiles in rows, with titles above the first columns.

    Args:
        rows: RGB tiles, (SIDE, SIDE, 3) each; the first row is the longest.
        titles: Of the columns.
    """
    pitch = SIDE + GAP
    sheet = np.full((TITLE + len(rows) * pitch - GAP, len(rows[0]) * pitch - GAP, 3), 255, np.uint8)
    for column, title in enumerate(titles):
        place = (column * pitch + 4, TITLE - 7)
        cv2.putText(sheet, title, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (30, 30, 30), 1, cv2.LINE_AA)
    for i, row in enumerate(rows):
        for column, image in enumerate(row):
            sheet[TITLE + i * pitch :][:SIDE, column * pitch :][:, :SIDE] = image
    return sheet


def tile(row: SheetRow, scheme: Scheme, result: AlignResult) -> Image:
    """Return a face with the landmarks of one model, (SIDE, SIDE, 3).

    Args:
        row: The face.
        scheme: The model's scheme.
        result: Its landmarks.
    """
    size = SUPERSAMPLING * SIDE
    image = row.crop.extract(row.image, size)
    points = ((row.crop.to_unit(result.points_px).astype(np.float64) + 1) * size - 1) / 2
    places = np.round(np.clip(points, -size, 2 * size)).astype(np.int32)
    for contour in scheme.contours:
        cv2.polylines(image, [places[list(contour.points)]], contour.closed, LINE, 2, cv2.LINE_AA)
    for i, place in enumerate(places.tolist()):
        occluded = result.visibility is not None and result.visibility[i] < 0.5
        cv2.circle(image, place, 7, OCCLUDED if occluded else VISIBLE, -1, cv2.LINE_AA)
    return np.asarray(cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)
