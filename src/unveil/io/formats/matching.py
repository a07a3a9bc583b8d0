"""Find the image that an annotation belongs to. L landmarks."""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from unveil.io.files import DataError
from unveil.io.formats.records import FaceAnnotation, image_name
from unveil.io.image_sources import list_images

NUMBERED = re.compile(r"(.+)\.(\d+)")  # `a.0.pts`, `a.1.pts`: the faces of the image `a`


@dataclass(frozen=True, slots=True, eq=False)
class MatchedFace:
    """A face and the file of its image.

    Args:
        name: The path of the image below its folder, without suffix; `NAME.0`, `NAME.1`, … for several faces.
        image: The image file.
        annotation: The landmarks.
    """

    name: str
    image: Path
    annotation: FaceAnnotation


class ImageIndex:
    """The images below a folder, to be found by the paths in annotation files.

    Args:
        root: The folder.

    Raises:
        DataError: If there is no such folder or no image in it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        for path in list_images(root):
            relative = path.relative_to(root).as_posix()
            self._by_stem[_stem(relative)].append(relative)

    def find(self, image: str) -> Path | None:
        """Return the image that a path in an annotation file means; None if no image matches.

        Args:
            image: The path, with or without suffix, absolute or relative to any folder. It matches the image whose path
                below the root ends with it, or is the end of it.

        Raises:
            DataError: If several images match.
        """
        wanted = image.strip().replace("\\", "/").removeprefix("./")
        candidates = self._by_stem.get(_stem(wanted), [])
        exact = [path for path in candidates if same_end(path, wanted)]
        matches = exact or [path for path in candidates if same_end(image_name(path), image_name(wanted))]
        full = [path for path in matches if wanted in (path, image_name(path))]
        if len(matches) > 1 and len(full) != 1:
            raise DataError(f"{image!r} may be {matches[0]} or {matches[1]} below {self.root}; give it with its folder")
        return self.root / (full or matches)[0] if matches else None


def match_faces(faces: Iterable[FaceAnnotation], images: ImageIndex) -> tuple[list[MatchedFace], list[str]]:
    """Find the image of every face.

    Args:
        faces: The faces.
        images: The images.

    Returns:
        The faces whose image was found, sorted by name, and one line for each of the others.
    """
    groups: dict[Path, list[FaceAnnotation]] = defaultdict(list)
    problems: list[str] = []
    for face in faces:
        try:
            path = images.find(face.image)
            if path is None and (numbered := NUMBERED.fullmatch(face.name)):
                path = images.find(numbered[1])
        except DataError as error:
            problems.append(f"{face.where}: {error}")
            continue
        if path is None:
            problems.append(f"{face.where}: no image {face.image!r} below {images.root}; check the path")
        else:
            groups[path].append(face)
    matched = []
    for path, group in groups.items():
        name = image_name(path.relative_to(images.root).as_posix())
        names = [name] if len(group) == 1 else [f"{name}.{i}" for i in range(len(group))]
        matched += [MatchedFace(name, path, face) for name, face in zip(names, group, strict=True)]
    return sorted(matched, key=lambda face: face.name), problems


def _stem(path: str) -> str:
    return image_name(path).rpartition("/")[2]


def same_end(one: str, other: str) -> bool:
    """Return whether two paths are the same except for folders that only one of them has.

    Args:
        one: A path with `/` between folders.
        other: The other.
    """
    return f"/{one}".endswith(f"/{other}") or f"/{other}".endswith(f"/{one}")
