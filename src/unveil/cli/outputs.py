"""The files that `unveil align` and `unveil restore` write for one image."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from unveil.inference.drawing import ALIGNED_SIZES, aligned_crop, draw_faces, side_by_side
from unveil.inference.restorer import Restored
from unveil.io.annotations import write_pts
from unveil.io.files import Writer
from unveil.io.images import write_png
from unveil.schemes.scheme import Scheme
from unveil.types import Face, Image

AlignOutput: TypeAlias = Literal["json", "pts", "csv", "overlay", "aligned"]
RestoreOutput: TypeAlias = Literal["restored", "mask", "overlay", "comparison"]


def check_outputs(outputs: Sequence[AlignOutput], scheme: Scheme) -> None:
    """Raise ValueError if faces of this scheme cannot be written in one of these forms."""
    if "aligned" in outputs and scheme.five_points is None:
        problem = f"scheme {scheme.name!r} has no five_points, which align a face to the template"
        raise ValueError(f"--save aligned: {problem}; leave it out, or add them to the scheme and train again")


def align_writers(
    base: Path, image_rgb: Image, json_text: str, faces: Sequence[Face], scheme: Scheme, outputs: Sequence[AlignOutput]
) -> dict[Path, Writer]:
    """Return the files of one image and how each is written.

    Args:
        base: The path of the files without a suffix: `base.json`, `base.0.pts`, `base.overlay.png` and so on.
        image_rgb: The image, (H, W, 3).
        json_text: The content of the JSON file.
        faces: The faces in the image.
        scheme: The scheme of their landmarks.
        outputs: The kinds of files.

    Returns:
        Path of each file and the function that writes it, for `atomic_write_all`.

    Raises:
        ValueError: If faces of this scheme cannot be written in one of these forms.
    """
    check_outputs(outputs, scheme)
    writers: dict[Path, Writer] = {}
    if "json" in outputs:
        writers[_with_suffix(base, ".json")] = partial(_write_text, text=json_text)
    if "overlay" in outputs:
        writers[_with_suffix(base, ".overlay.png")] = partial(write_png, pixels=draw_faces(image_rgb, faces, scheme))
    for i, face in enumerate(faces):
        if "pts" in outputs:
            writers[_with_suffix(base, f".{i}.pts")] = partial(write_pts, points_px=face.landmarks)
        if "aligned" in outputs and face.five_points is not None:
            crop = aligned_crop(face.five_points)
            for size in ALIGNED_SIZES:
                path = _with_suffix(base, f".{i}.aligned-{size}.png")
                writers[path] = partial(write_png, pixels=crop.extract(image_rgb, size))
    return writers


def restore_writers(
    base: Path, image_rgb: Image, restored: Restored, scheme: Scheme, outputs: Sequence[RestoreOutput]
) -> dict[Path, Writer]:
    """Return the files of one restored image and how each is written: `base.restored.png`, `base.mask.png` and so on.

    Args:
        base: The path of the files without a suffix.
        image_rgb: The image before the restoration, (H, W, 3).
        restored: The result of the restoration.
        scheme: The scheme of the faces' landmarks.
        outputs: The kinds of files.

    Returns:
        Path of each file and the function that writes it, for `atomic_write_all`.
    """
    mask = np.where(restored.mask, 255, 0).astype(np.uint8)
    pixels: dict[RestoreOutput, Callable[[], NDArray[np.uint8]]] = {
        "restored": lambda: restored.image,
        "mask": lambda: mask,
        "overlay": lambda: draw_faces(restored.image, restored.after, scheme),
        "comparison": lambda: side_by_side(
            {"before": image_rgb, "mask": np.repeat(mask[..., None], 3, axis=2), "after": restored.image}
        ),
    }
    return {_with_suffix(base, f".{kind}.png"): partial(write_png, pixels=pixels[kind]()) for kind in outputs}


def _with_suffix(base: Path, suffix: str) -> Path:
    return base.with_name(base.name + suffix)


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
