"""iBUG's `.pts` files, one per face: `NAME.pts`, or `NAME.0.pts`, `NAME.1.pts`, … for several faces in one image."""

from collections import Counter
from collections.abc import Iterable, Sequence
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
        ValueError: If a landmark is missing, or two images have the same file. Nothing is written then.
    """
    names = output_names(images)
    write_all((image, _pts_writers(path / name, image.faces)) for name, image in zip(names, images, strict=True))


def _pts_writers(base: Path, faces: Sequence[FaceAnnotation]) -> dict[Path, Writer]:
    """Return the files of one image: `base.pts` for one face; `base.0.pts`, `base.1.pts`, … for several."""
    for face in faces:
        check_complete(face, "pts")
    names = [".pts"] if len(faces) == 1 else [f".{i}.pts" for i in range(len(faces))]
    return {
        base.with_name(base.name + name): partial(write_pts, points_px=face.points_px)
        for name, face in zip(names, faces, strict=True)
    }


def write_all(images: Iterable[tuple[ImageAnnotation, dict[Path, Writer]]]) -> None:
    """Write the files of all images, or none.

    Args:
        images: Each image with its files.

    Raises:
        ValueError: If two images have the same file.
    """
    writers: dict[Path, Writer] = {}
    for image, found in images:
        if taken := writers.keys() & found.keys():
            raise ValueError(f"{image.image}: another image also gives {min(taken).name}; rename one of them")
        writers |= found
    atomic_write_all(writers)


def output_names(images: Sequence[ImageAnnotation]) -> list[Path]:
    """Return the path below a folder, without suffix, of each image's files.

    Images that differ only in their suffix keep it, so that no file replaces another: `a.jpg.pts` and `a.png.pts`.

    Args:
        images: The images.
    """
    names = [relative_name(image.image) for image in images]
    count = Counter(names)
    return [
        name if count[name] == 1 else name.with_name(image.image.replace("\\", "/").rpartition("/")[2].strip())
        for name, image in zip(names, images, strict=True)
    ]


def relative_name(image: str) -> Path:
    """Return an image's name as a path below a folder: without drive, root and `..`.

    Args:
        image: The path of the image.
    """
    parts = [part for part in image_name(image).split("/") if part not in ("", ".", "..") and not part.endswith(":")]
    return Path(*parts) if parts else Path("image")
