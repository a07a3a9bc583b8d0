"""The annotation formats by name, which format a file has, and reading and writing any of them."""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, get_args
from xml.etree import ElementTree

from unveil.io.files import DataError
from unveil.io.formats import coco, csv_faces, cvat, dlib_xml, json_faces, label_studio, npz, pts
from unveil.io.formats.npz import Role
from unveil.io.formats.records import FaceAnnotation, Faces, ImageAnnotation, InvalidFace, missing_problem
from unveil.io.formats.xml_file import read_xml
from unveil.schemes.scheme import Scheme

FormatName: TypeAlias = Literal["pts", "json", "csv", "coco", "dlib", "cvat", "label-studio"]
Write: TypeAlias = Callable[[Path, Sequence[ImageAnnotation], Scheme | None], None]
WriteUnnamed: TypeAlias = Callable[[Path, Sequence[ImageAnnotation]], None]

ARRAY = re.compile(r"(.+\.npz):(\w+)", re.IGNORECASE)
SOURCES = "a .json, .csv, .xml, .npz or .pts file, or a folder of .pts or .json files"


@dataclass(frozen=True, slots=True)
class Format:
    """A file format.

    Args:
        suffix: How a file of this format is named: NAME and this.
        in_folder: Whether images have files of their own below a folder.
        needs_size: Whether the format states the size of an image.
        needs_all: Whether a face must have all landmarks.
        write: Writes images to a file, or below a folder.
    """

    suffix: str
    in_folder: bool
    needs_size: bool
    needs_all: bool
    write: Write


def _without_names(write: WriteUnnamed) -> Write:
    """Adapt a writer that does not use the names of the landmarks."""
    return lambda path, images, _scheme: write(path, images)


FORMATS: Mapping[FormatName, Format] = MappingProxyType(
    {
        "pts": Format(".pts", True, False, True, _without_names(pts.write)),
        "json": Format(".json", True, True, False, _without_names(json_faces.write)),
        "csv": Format(".csv", False, False, False, _without_names(csv_faces.write)),
        "coco": Format(".coco.json", False, True, False, coco.write),
        "dlib": Format(".dlib.xml", False, False, False, _without_names(dlib_xml.write)),
        "cvat": Format(".cvat.xml", False, True, True, _without_names(cvat.write)),
        "label-studio": Format(".label-studio.json", False, True, False, _without_names(label_studio.write)),
    }
)
assert set(FORMATS) == set(get_args(FormatName))


@dataclass(frozen=True, slots=True)
class Annotations:
    """The faces of a file or folder.

    Args:
        source: The file or folder.
        faces: The faces in its own order.
    """

    source: str
    faces: tuple[FaceAnnotation | InvalidFace, ...]

    @property
    def valid(self) -> tuple[FaceAnnotation, ...]:
        """The faces that could be read."""
        return tuple(face for face in self.faces if isinstance(face, FaceAnnotation))

    @property
    def invalid(self) -> tuple[InvalidFace, ...]:
        """The others."""
        return tuple(face for face in self.faces if isinstance(face, InvalidFace))


def read_annotations(
    source: Path | str, role: Role = "ground truth", scheme: Scheme | None = None, *, allow_missing: bool = False
) -> Annotations:
    """Return every face of a file or folder, whatever its format.

    Args:
        source: A file; a folder with `.pts` files, or without any, with the JSON files of `unveil align`, or with one
            file of another format; or `FILE.npz:ARRAY`.
        role: Which array of an `.npz` to take.
        scheme: The scheme, for formats that name landmarks.
        allow_missing: Whether a face may lack landmarks, which are NaN then. Otherwise it counts as invalid.

    Raises:
        DataError: If the source cannot be read at all or holds no face.
    """
    selected = ARRAY.fullmatch(str(source))
    path, array = (Path(selected[1]), selected[2]) if selected else (Path(source), None)
    if path.suffix.lower() == ".npz" and not path.is_dir():
        faces: Iterable[FaceAnnotation | InvalidFace] = npz.read(path, array, role) if path.exists() else _absent(path)
    else:
        faces = _folder(path, scheme) if path.is_dir() else read_file(path, scheme)
    read = tuple(faces if allow_missing else map(_complete, faces))
    if not read:
        raise DataError(f"{source}: no faces in it; give {SOURCES}")
    return Annotations(str(source), read)


def _complete(face: FaceAnnotation | InvalidFace) -> FaceAnnotation | InvalidFace:
    problem = missing_problem(face) if isinstance(face, FaceAnnotation) else None
    return face if problem is None else InvalidFace.of(face.name, problem)


def read_file(path: Path, scheme: Scheme | None = None) -> Faces:
    """Yield the faces of one file, whatever its format.

    Args:
        path: The file.
        scheme: The scheme, for formats that name landmarks.

    Raises:
        DataError: If the format is unknown or the file is damaged.
    """
    suffix = path.suffix.lower()
    if not path.exists():
        yield from _absent(path)
    elif suffix == ".pts":
        yield from pts.read(path)
    elif suffix == ".csv":
        yield from csv_faces.read(path)
    elif suffix == ".xml":
        yield from _xml(path, read_xml(path), scheme)
    elif suffix == ".json":
        yield from _json_faces(path, _json(path), scheme)
    else:
        raise DataError(f"{path}: not {SOURCES}")


def _absent(path: Path) -> Faces:
    raise DataError(f"{path}: no such file or folder; give {SOURCES}")


def _folder(root: Path, scheme: Scheme | None) -> Faces:
    files = [path for path in sorted(root.rglob("*")) if not path.name.startswith(".") and path.is_file()]
    of_suffix = {kind: [path for path in files if path.suffix.lower() == kind] for kind in (".pts", ".json")}
    if of_suffix[".pts"]:
        yield from pts.read(root)
        return
    single = [path for path in files if path.suffix.lower() in (".csv", ".xml")] if not of_suffix[".json"] else []
    if len(single) > 1:
        raise DataError(f"{root}: {single[0].name} and {single[1].name} both hold annotations; name one of them")
    read: dict[Path, bool] = {}  # whether each JSON file of annotations holds those of many images
    for path in of_suffix[".json"] or single:
        name = path.relative_to(root).as_posix()
        try:
            if path.suffix.lower() == ".json":
                content = _json(path)
                many = coco.matches(content) or isinstance(content, list)
                if many or (isinstance(content, dict) and "faces" in content):
                    read[path] = many
                faces = _json_faces(path, content, scheme)
            else:
                faces = read_file(path, scheme)
            yield from faces
        except DataError as error:
            yield InvalidFace.of(name, error)
        if len(read) > 1 and any(read.values()):
            one, other = list(read)[-2:]
            raise DataError(f"{root}: {one.name} and {other.name} both hold annotations; name one of them")


def _json_faces(path: Path, content: Any, scheme: Scheme | None) -> Faces:
    if coco.matches(content):
        return coco.read(path, content)
    if label_studio.matches(content):
        return label_studio.read(path, content, scheme)
    return json_faces.read(path, content)


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON, or cut short ({error})") from None


def _xml(path: Path, root: ElementTree.Element, scheme: Scheme | None) -> Faces:
    readers = {dlib_xml.ROOT: dlib_xml.read, cvat.ROOT: cvat.read}
    if root.tag not in readers:
        raise DataError(f"{path}: <{root.tag}> is neither <{dlib_xml.ROOT}> of dlib nor <{cvat.ROOT}> of CVAT")
    return readers[root.tag](path, root, scheme)
