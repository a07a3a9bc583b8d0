"""Predictions beside the truth, face by face; what does not pair is told, and the rest goes on. N faces, L landmarks.

A pair has the same file stem. Where a stem is there twice, in `helen/1` and `lfpw/1`, the folders decide.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unveil.io.files import DataError
from unveil.io.predictions.faces import Annotation, Broken
from unveil.io.predictions.sources import Annotations, read_annotations
from unveil.schemes.scheme import SCHEMES, Scheme

NUMBERED = re.compile(r"(.+)\.(\d+)")  # `unveil align --save pts` writes `a.0.pts`, `a.1.pts`: the faces of `a`


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Faces with what was predicted for them, in the order of the truth; one line for each that had to be left out."""

    scheme: Scheme
    names: tuple[str, ...]
    places: tuple[str, ...]
    """Where each face's truth stands, for messages."""
    predicted_px: NDArray[np.float32]
    truth_px: NDArray[np.float32]
    visible: NDArray[np.bool_] | None
    """(N, L), which landmarks truly are, if the truth says so of every face."""
    visibility: NDArray[np.float32] | None
    """(N, L), the predicted probability of being visible, if there is one for every face."""
    problems: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    def without(self, faults: Mapping[int, str]) -> "Pairs":
        """The pairs less some, by index; why they went is added to the problems. DataError if none is left."""
        keep = [i for i in range(len(self)) if i not in faults]
        problems = (*self.problems, *(f"{self.places[i]}: {fault}" for i, fault in faults.items()))
        if not keep:
            raise DataError(f"no pair is left: {problems[0]}")
        return Pairs(
            self.scheme,
            tuple(self.names[i] for i in keep),
            tuple(self.places[i] for i in keep),
            self.predicted_px[keep],
            self.truth_px[keep],
            None if self.visible is None else self.visible[keep],
            None if self.visibility is None else self.visibility[keep],
            problems,
        )


def read_pairs(
    predictions: Path | str,
    truth: Path | str,
    scheme: Scheme | None = None,
    *,
    rows: slice = slice(None),
    strict: bool = False,
) -> Pairs:
    """Reads both sources (see `sources.py` for their forms) and pairs them.

    `rows` takes some of the true faces, by their order in the source; of the others nothing is said.
    The scheme is the built-in one with as many points as most true faces have, unless one is given. A face that is
    broken, has no partner or another scheme becomes a line in `problems`; if `strict`, the first of them is raised as
    DataError. DataError too if a source cannot be read at all or no pair is left.
    """
    predicted, true = read_annotations(predictions, "predictions"), read_annotations(truth, "truth")
    chosen = set(true.faces[rows])
    problems = [broken.problem for broken in (*(one for one in true.broken if one in chosen), *predicted.broken)]
    if not true.found or not predicted.found:
        raise DataError(problems[0])
    scheme = scheme or _scheme(true)
    if not chosen:
        raise DataError(f"{true.source}: none of its {len(true.faces)} faces is in the chosen rows; choose others")
    pairs, unpaired = _paired(predicted, true, chosen)
    misfits = [_misfit(one, scheme) or _misfit(other, scheme) for one, other in pairs]
    pairs = [pair for pair, misfit in zip(pairs, misfits, strict=True) if misfit is None]
    problems += [*unpaired, *(misfit for misfit in misfits if misfit is not None)]
    if problems and (strict or not pairs):
        raise DataError(problems[0])
    return _stacked(scheme, pairs, tuple(problems))


def _paired(
    predicted: Annotations, true: Annotations, chosen: Collection[Annotation | Broken]
) -> tuple[list[tuple[Annotation, Annotation]], list[str]]:
    """(prediction, truth) of every chosen face that has exactly one of each, and what is wrong with the others."""
    pairs: list[tuple[Annotation, Annotation]] = []
    problems: list[str] = []
    broken = [face.name for source in (predicted, true) for face in source.broken]
    plain, numbered = _by_stem(predicted.found), _by_stem(_as_faces(predicted.found))
    used: set[str] = set()
    for stem, faces in _by_stem(true.found).items():
        rivals = plain.get(stem) or numbered.get(stem, [])
        used.update(rival.where for rival in rivals)
        for face in (face for face in faces if face in chosen):
            near = [rival for rival in rivals if len(faces) == 1 or _agree(rival.name, face.name)]
            near = [rival for rival in near if _agree(rival.name, face.name)] or near
            if not near:
                if not any(_agree(name, face.name) for name in broken):
                    problems.append(f"{predicted.source}: no prediction for {face.where}; add one named {stem!r}")
            elif fault := _ambiguous(near, face, faces):
                problems.append(fault)
            else:
                pairs.append((_nearest(near, face), face))
    unused = (face for face in predicted.found if face.where not in used)
    extra = [face for face in unused if not any(_agree(name, face.name) for name in broken)]
    if extra:
        others = f" and {len(extra) - 1} more have" if len(extra) > 1 else " has"
        problems.append(f"{extra[0].where}{others} no truth in {true.source}; add it or take the prediction out")
    return pairs, problems


def _ambiguous(near: Sequence[Annotation], face: Annotation, faces: Sequence[Annotation]) -> str | None:
    """Why it cannot be said which prediction belongs to which truth, if it cannot."""
    twin = next((other for other in faces if other is not face and _agree(near[0].name, other.name)), None)
    if twin is not None:
        return f"{near[0].where}: the truth is twice, in {face.where} and {twin.where}; name folders or take one out"
    if len(near) > 1 and (len({rival.name for rival in near}) > 1 or any(rival.face is None for rival in near)):
        return f"{near[0].where} and {near[1].where}: two predictions for {face.where}; take one out"
    return None


def _nearest(near: Sequence[Annotation], face: Annotation) -> Annotation:
    """Of the faces found in a picture the one whose tight box, place and size, is most like the true one's."""
    return min(near, key=lambda rival: float(np.abs(_corners(rival) - _corners(face)).sum()))


def _corners(face: Annotation) -> NDArray[np.float32]:
    return np.stack([face.points_px.min(axis=0), face.points_px.max(axis=0)])


def _misfit(face: Annotation, scheme: Scheme) -> str | None:
    if face.scheme is not None and face.scheme != scheme.name:
        return f"{face.where}: scheme {face.scheme!r}, but the truth has {scheme.name!r}; evaluate each on its own"
    if len(face.points_px) != scheme.points:
        has = f"{face.where}: {len(face.points_px)} points, but scheme {scheme.name!r} has {scheme.points}"
        return f"{has}; mend it or evaluate each scheme on its own"
    return None


def _scheme(true: Annotations) -> Scheme:
    """The built-in scheme that fits most true faces."""
    count = Counter(len(face.points_px) for face in true.found).most_common(1)[0][0]
    for scheme in SCHEMES.values():
        if scheme.points == count:
            return scheme
    raise DataError(f"{true.source}: faces of {count} points, which no built-in scheme has; name its scheme file")


def _stacked(scheme: Scheme, pairs: Sequence[tuple[Annotation, Annotation]], problems: tuple[str, ...]) -> Pairs:
    predicted, true = zip(*pairs, strict=True)
    visible = [face.visible for face in true if face.visible is not None]
    visibility = [face.visibility for face in predicted if face.visibility is not None]
    return Pairs(
        scheme,
        tuple(face.name for face in true),
        tuple(face.where for face in true),
        np.stack([face.points_px for face in predicted]),
        np.stack([face.points_px for face in true]),
        np.stack(visible) if len(visible) == len(pairs) else None,
        np.stack(visibility) if len(visibility) == len(pairs) else None,
        problems,
    )


def _by_stem(faces: Iterable[Annotation]) -> dict[str, list[Annotation]]:
    found: dict[str, list[Annotation]] = defaultdict(list)
    for face in faces:
        found[_stem(face.name)].append(face)
    return found


def _as_faces(faces: Iterable[Annotation]) -> list[Annotation]:
    """The faces whose names end in a number, as those of one picture."""
    matches = [(face, NUMBERED.fullmatch(face.name)) for face in faces]
    return [replace(face, name=match[1], face=int(match[2])) for face, match in matches if match]


def _stem(name: str) -> str:
    return name.rpartition("/")[2]


def _agree(one: str, other: str) -> bool:
    """Whether two names are the same but for folders that only one of them knows."""
    return f"/{one}".endswith(f"/{other}") or f"/{other}".endswith(f"/{one}")
