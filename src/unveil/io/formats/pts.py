"""iBUG's `.pts` files, one per face: `NAME.pts`, or `NAME.0.pts`, `NAME.1.pts`, … for several faces in one image."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from unveil.io.annotations import read_pts, write_pts
from unveil.io.files import DataError, Writer, atomic_write_all
from unveil.io.formats.records import (
    FaceAnnotation,
    Faces,
    ImageAnnotation,
    InvalidFace,
    check_complete,
    face_annotation,
    image_name,
)


def read(path: Path) -> Faces:
    """Read a `.pts` file, or all of them below a folder.

    Args:
        path: The file or folder.

    Yields:
        Each face; an `InvalidFace` for a file that cannot be read.
    """
    for file in [path] if path.is_file() else sorted(path.rglob("*")):
        if file.suffix.lower() != ".pts" or file.name.startswith(".") or not file.is_file():
            continue
        name = file.name if path.is_file() else file.relative_to(path).as_posix()
        try:
            yield face_annotation(name, str(file), read_pts(file))
        except DataError as error:
            yield InvalidFace.of(name, error)


def write(path: Path, images: Sequence[ImageAnnotation]) -> None:
    """Write one file per face below a folder.

    Args:
        path: The folder.
        images: The images and their faces.

    Raises:
        ValueError: If a landmark is missing.
    """
    for image in images:
        base = path / relative_name(image.image)
        atomic_write_all(_pts_writers(base, image.faces))


def _pts_writers(base: Path, faces: Sequence[FaceAnnotation]) -> dict[Path, Writer]:
    """Return the files of one image: `base.pts` for one face; `base.0.pts`, `base.1.pts`, … for several."""
    for face in faces:
        check_complete(face, "pts")
    names = [".pts"] if len(faces) == 1 else [f".{i}.pts" for i in range(len(faces))]
    return {
        base.with_name(base.name + name): partial(write_pts, points_px=face.points_px)
        for name, face in zip(names, faces, strict=True)
    }


def relative_name(image: str) -> Path:
    """Return an image's name as a path below a folder: without drive, root and `..`.

    Args:
        image: The path of the image.
    """
    parts = [part for part in image_name(image).split("/") if part not in ("", ".", "..") and not part.endswith(":")]
    return Path(*parts) if parts else Path("image")
