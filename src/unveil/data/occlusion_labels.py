"""Hand-made occlusion labels: a CSV file with the occluded regions of each face. L landmarks.

The columns are `name` and `regions`; the regions of a face are separated by `;`, and none means that nothing is
occluded. A name is that of the data set, with or without its folders and suffix. Regions are the parts of the scheme's
hierarchy, such as `left brow`, `mouth` or `cheeks`, and for faces of ibug68 also those of `MORE_REGIONS`.
"""

import csv
from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from unveil.data.datasets.registry import DataSet, Faces
from unveil.data.pack import Pack
from unveil.io.files import DataError
from unveil.io.images import IMAGE_SUFFIXES
from unveil.schemes.scheme import IBUG68, Indices, Scheme

MORE_REGIONS: Mapping[str, Indices] = MappingProxyType(
    {
        "jaw": tuple(range(17)),
        "left temple": (0, 1, 2),
        "right temple": (14, 15, 16),
        "chin": (6, 7, 8, 9, 10),
        "lower lip": (54, 55, 56, 57, 58, 59, 48, 64, 65, 66, 67, 60),
        "upper lip": (48, 49, 50, 51, 52, 53, 54, 60, 61, 62, 63, 64),
    }
)
SEPARATOR = ";"
COLUMNS = ("name", "regions")


def label_regions(scheme: Scheme) -> dict[str, Indices]:
    """Return the regions that labels may name, with their landmarks.

    Args:
        scheme: The landmark scheme.
    """
    parts = {part.name: tuple(part.points) for level in scheme.hierarchy.levels for part in level.parts}
    return {**parts, **(MORE_REGIONS if scheme == IBUG68 else {})}


def read_occlusion_labels(path: Path, scheme: Scheme) -> dict[str, NDArray[np.bool_]]:
    """Return which landmarks are visible, (L,), by the name in a file of labels.

    Args:
        path: The CSV file.
        scheme: The landmark scheme of the faces.

    Raises:
        DataError: The file cannot be read, a column is missing, a name is given twice, or a region is unknown; the
            message has the line.
    """
    regions = label_regions(scheme)
    labels: dict[str, NDArray[np.bool_]] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            if missing := [column for column in COLUMNS if column not in (reader.fieldnames or ())]:
                raise DataError(f"{path}: no column {missing[0]!r}; give {','.join(COLUMNS)}")
            for row in reader:
                where, name = f"{path}, line {reader.line_num}", _plain((row["name"] or "").strip())
                if not name or name in labels:
                    raise DataError(
                        f"{where}: {f'{name!r} is given twice' if name else 'no name'}; give each face once"
                    )
                visible = np.ones(scheme.points, np.bool_)
                for region in filter(None, (part.strip().lower() for part in (row["regions"] or "").split(SEPARATOR))):
                    if region not in regions:
                        near = get_close_matches(region, regions, 1)
                        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(regions)}"
                        raise DataError(f"{where}: unknown region {region!r}: {hint}")
                    visible[list(regions[region])] = False
                labels[name] = visible
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not CSV ({error})") from None
    if not labels:
        raise DataError(f"{path}: no faces in it; give a line name,regions for each")
    return labels


def with_occlusion_labels(faces: Faces, path: Path, *, only_labelled: bool = False) -> Faces:
    """Return faces, of the same type, with the visibility that a file of labels gives them.

    Args:
        faces: A pack or a data set.
        path: The CSV file.
        only_labelled: Leave out the faces without a label, as for evaluation; otherwise they keep their own visibility,
            or count as visible.

    Raises:
        DataError: See `read_occlusion_labels`; or no face has a label.
    """
    labels = read_occlusion_labels(path, faces.scheme)
    plain = [_plain(name) for name in faces.names]
    found = [labels.get(name, labels.get(name.rpartition("/")[2])) for name in plain]
    if all(label is None for label in found):
        raise DataError(
            f"{path}: none of its {len(labels)} names is in {faces.label}; give names as the data set has them"
        )
    kept = [i for i, label in enumerate(found) if label is not None or not only_labelled]
    own = faces.visible
    visible = np.stack(
        [own[i] if own is not None else np.ones(faces.scheme.points, np.bool_) for i in range(len(found))]
    )
    for i, label in enumerate(found):
        if label is not None:
            visible[i] = label
    if isinstance(faces, Pack):
        return replace(faces, visible=visible).subset(kept)
    if not isinstance(faces, DataSet):
        raise DataError(f"{faces.label}: labels belong to one pack or data set; give each its own file")
    samples = tuple(replace(faces.samples[i], visible=visible[i]) for i in kept)
    name = f"{faces.name}, labelled" if only_labelled else faces.name
    return DataSet(name, samples, faces.scheme, None if only_labelled else faces.expected)


def _plain(name: str) -> str:
    """Return a name with slashes and without an image's suffix."""
    name = name.replace("\\", "/")
    suffix = Path(name).suffix
    return name[: -len(suffix)] if suffix.lower() in IMAGE_SUFFIXES else name
