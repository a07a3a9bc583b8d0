"""The files that `unveil align` and `unveil restore` write for one image."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from unveil.inference.drawing import ALIGNED_SIZES, aligned_crop, draw_faces, side_by_side
from unveil.inference.restorer import RESTORED_NOTE, Restored
from unveil.io.annotations import write_pts
from unveil.io.files import Writer
from unveil.io.formats import FORMATS, FormatName, ImageAnnotation, annotate
from unveil.io.image_sources import Source
from unveil.io.images import write_png
from unveil.io.results import CSV_NAME, csv_table
from unveil.schemes.scheme import Scheme
from unveil.types import Face, Image

AlignOutput: TypeAlias = FormatName | Literal["overlay", "aligned"]
AddImage: TypeAlias = Callable[[Source, Image, Sequence[Face]], None]
"""Adds the faces of one image to the files that hold all images."""
RestoreOutput: TypeAlias = Literal["restored", "mask", "overlay", "comparison"]


def check_outputs(outputs: Sequence[AlignOutput], scheme: Scheme) -> None:
    """Check that faces of a scheme can be written in these forms.

    Args:
        outputs: The kinds of files.
        scheme: The scheme of the landmarks.

    Raises:
        ValueError: They cannot.
    """
    if "aligned" in outputs and scheme.five_points is None:
        problem = f"scheme {scheme.name!r} has no five_points, which align a face to the template"
        raise ValueError(f"--save aligned: {problem}; leave it out, or add them to the scheme and train again")


def align_writers(
    base: Path, image_rgb: Image, json_text: str, faces: Sequence[Face], scheme: Scheme, outputs: Sequence[AlignOutput]
) -> dict[Path, Writer]:
    """Return the files of one image and how each is written; files that all images share are not among them.

    Args:
        base: The path of the files without a suffix: `base.json`, `base.overlay.png` and so on; `base.pts` for one
            face, `base.0.pts`, `base.1.pts`, … for several.
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
            suffix = ".pts" if len(faces) == 1 else f".{i}.pts"
            writers[_with_suffix(base, suffix)] = partial(write_pts, points_px=face.landmarks)
        if "aligned" in outputs and face.five_points is not None:
            crop = aligned_crop(face.five_points)
            for size in ALIGNED_SIZES:
                path = _with_suffix(base, f".{i}.aligned-{size}.png")
                writers[path] = partial(write_png, pixels=crop.extract(image_rgb, size))
    return writers


@contextmanager
def shared_files(out: Path, scheme: Scheme, model: str, outputs: Sequence[AlignOutput]) -> Iterator[AddImage]:
    """Write the files that hold all images: `faces.csv`, `faces.coco.json` and so on.

    Args:
        out: The folder.
        scheme: The scheme of the landmarks.
        model: The name of the model.
        outputs: The kinds of files; those with a file per image are ignored.

    Yields:
        A function that adds one image. The files appear when the block ends without an exception.
    """
    kinds = [kind for kind, form in FORMATS.items() if kind in outputs and kind != "csv" and not form.in_folder]
    images: dict[FormatName, list[ImageAnnotation]] = {kind: [] for kind in kinds}
    with csv_table(out / CSV_NAME, scheme.points) if "csv" in outputs else nullcontext() as add_rows:

        def add(source: Source, image_rgb: Image, faces: Sequence[Face]) -> None:
            if add_rows is not None:
                add_rows(str(source.path), faces)
            size = image_rgb.shape[1], image_rgb.shape[0]
            for kind, collected in images.items():
                # dlib resolves paths from its XML file, the other tools from the folder of the images.
                below = (source.output.parent / source.path.name).as_posix()
                name = Path(os.path.relpath(source.path, out)).as_posix() if kind == "dlib" else below
                annotations = [annotate(face, name, i, scheme.name, size) for i, face in enumerate(faces)]
                collected.append(ImageAnnotation(name, tuple(annotations), size, model))

        yield add
        for kind, collected in images.items():
            FORMATS[kind].write(out / f"faces{FORMATS[kind].suffix}", collected, scheme)


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
    return {
        _with_suffix(base, f".{kind}.png"): partial(
            write_png, pixels=pixels[kind](), text=None if kind == "mask" else RESTORED_NOTE
        )
        for kind in outputs
    }


def _with_suffix(base: Path, suffix: str) -> Path:
    return base.with_name(base.name + suffix)


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
