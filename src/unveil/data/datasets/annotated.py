"""A user's faces: images in a folder, annotated in any format that the package reads. L landmarks."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from unveil.data.datasets.samples import DataSet, Sample, require_folder
from unveil.io.annotations import implausible
from unveil.io.files import DataError
from unveil.io.formats import FaceAnnotation, read_annotations
from unveil.io.formats.matching import ImageIndex, match_faces
from unveil.schemes.scheme import SCHEME_OF_COUNT, Scheme
from unveil.schemes.scheme_file import resolve_scheme


def annotated_faces(
    root: Path, annotations: Path | None = None, scheme: Scheme | None = None
) -> tuple[DataSet, tuple[str, ...]]:
    """Read the faces of a folder of images.

    Args:
        root: Folder of the images. Folders below it are searched as well.
        annotations: Their annotations: a folder, or a file of COCO keypoints, dlib, CVAT, Label Studio, CSV or JSON. By
            default those in `root`: `.pts` files beside the images, or one of the others.
        scheme: Scheme of the landmarks; by default the one that the file states, else the built-in scheme with as many.

    Returns:
        The faces, and one line for each annotation that cannot be used.

    Raises:
        DataError: There is no face at all, or its scheme is not known.
    """
    require_folder(root)
    source = root if annotations is None else annotations
    found = read_annotations(source, scheme=scheme)
    faces = [face for face in found.faces if isinstance(face, FaceAnnotation)]
    problems = [face.problem for face in found.faces if not isinstance(face, FaceAnnotation)]
    matched, unmatched = match_faces(faces, ImageIndex(root))
    problems += unmatched
    if not faces:
        first = f", the first: {problems[0]}" if problems else ""
        raise DataError(f"{source}: no face is annotated in it or below{first}")
    chosen = scheme or _scheme_of(faces, source)
    samples = []
    for one in matched:
        count = len(one.annotation.points_px)
        if count != chosen.points:
            has = f"scheme {chosen.name!r} has {chosen.points}"
            problems.append(f"{one.annotation.where}: {count} points, but {has}")
            continue
        if (problem := implausible(one.annotation.points_px)) is not None:
            problems.append(f"{one.annotation.where}: {problem}")
            continue
        samples.append(
            Sample(one.name, one.image, one.annotation.points_px, one.annotation.visible, one.annotation.box)
        )
    if not samples:
        raise DataError(f"{source}: none of {len(faces)} annotated faces can be used, the first: {problems[0]}")
    return DataSet(root.resolve().name, tuple(samples), chosen), tuple(problems)


def _scheme_of(faces: Sequence[FaceAnnotation], source: Path) -> Scheme:
    """Return the scheme of most faces."""
    common = Counter((face.scheme, len(face.points_px)) for face in faces).most_common(1)[0][0]
    face = next(face for face in faces if (face.scheme, len(face.points_px)) == common)
    if face.scheme is not None:
        try:
            return resolve_scheme(face.scheme, None)
        except ValueError as error:
            raise DataError(f"{face.where}: {error}; name its scheme file with --scheme") from error
    count = len(face.points_px)
    if count not in SCHEME_OF_COUNT:
        raise DataError(f"{source}: {count} points, and no built-in scheme has as many; name its file with --scheme")
    return SCHEME_OF_COUNT[count]
