"""Pair predictions with their ground truth; faces without a partner are reported. N faces, L landmarks.

A pair has the same file stem. If a stem occurs twice, in `helen/1` and `lfpw/1`, the folders decide.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from unveil.io.files import DataError
from unveil.io.formats import Annotations, FaceAnnotation, InvalidFace, read_annotations
from unveil.io.formats.matching import NUMBERED, same_end
from unveil.schemes.scheme import SCHEME_OF_COUNT, Scheme

Pair: TypeAlias = tuple[FaceAnnotation, FaceAnnotation]
"""A prediction and its ground truth."""


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Faces with their predictions, in the order of the ground truth.

    Args:
        scheme: The landmark scheme.
        names: The faces' names.
        places: Where each face's ground truth is written, for messages.
        predicted_px: (N, L, 2).
        ground_truth_px: (N, L, 2).
        visible: Ground truth of visibility, (N, L), if every face has it.
        visibility: Predicted probability of being visible, (N, L), if every face has it.
        problems: One line for each face that was left out.
    """

    scheme: Scheme
    names: tuple[str, ...]
    places: tuple[str, ...]
    predicted_px: NDArray[np.float32]
    ground_truth_px: NDArray[np.float32]
    visible: NDArray[np.bool_] | None
    visibility: NDArray[np.float32] | None
    problems: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    def without(self, excluded: Mapping[int, str]) -> "Pairs":
        """Return the pairs without some of them.

        Args:
            excluded: The reason by index; it is added to the problems.

        Raises:
            DataError: No pair is left.
        """
        keep = [i for i in range(len(self)) if i not in excluded]
        problems = (*self.problems, *(f"{self.places[i]}: {reason}" for i, reason in excluded.items()))
        if not keep:
            raise DataError(f"no pair is left: {problems[0]}")
        return Pairs(
            self.scheme,
            tuple(self.names[i] for i in keep),
            tuple(self.places[i] for i in keep),
            self.predicted_px[keep],
            self.ground_truth_px[keep],
            None if self.visible is None else self.visible[keep],
            None if self.visibility is None else self.visibility[keep],
            problems,
        )


def read_pairs(
    predictions: Path | str,
    ground_truth: Path | str,
    scheme: Scheme | None = None,
    *,
    rows: slice = slice(None),
    strict: bool = False,
) -> Pairs:
    """Read predictions and their ground truth (see `unveil.io.formats` for the formats) and pair them.

    Args:
        predictions: A file or folder.
        ground_truth: A file or folder.
        scheme: None: the built-in scheme with as many points as most faces of the ground truth.
        rows: Faces of the ground truth, by their order; the others are ignored.
        strict: Raise the first problem instead of leaving the face out.

    Returns:
        The pairs. A face that is broken, has no partner or another scheme is in `problems`.

    Raises:
        DataError: A file cannot be read at all, no pair is left, or there is a problem and `strict` is set.
    """
    predicted, true = read_annotations(predictions, "predictions"), read_annotations(ground_truth, "ground truth")
    chosen = set(true.faces[rows])
    problems = [invalid.problem for invalid in (*(one for one in true.invalid if one in chosen), *predicted.invalid)]
    if not true.valid or not predicted.valid:
        raise DataError(problems[0])
    if scheme is None:
        count = Counter(len(face.points_px) for face in true.valid).most_common(1)[0][0]
        if (scheme := SCHEME_OF_COUNT.get(count)) is None:
            has = f"faces of {count} points, which no built-in scheme has"
            raise DataError(f"{true.source}: {has}; name its scheme file")
    if not chosen:
        raise DataError(f"{true.source}: none of its {len(true.faces)} faces is in the chosen rows; choose others")
    pairs, unpaired = _pair_up(predicted, true, chosen)
    mismatches = [_mismatch(one, scheme) or _mismatch(other, scheme) for one, other in pairs]
    pairs = [pair for pair, mismatch in zip(pairs, mismatches, strict=True) if mismatch is None]
    problems += [*unpaired, *(mismatch for mismatch in mismatches if mismatch is not None)]
    if problems and (strict or not pairs):
        raise DataError(problems[0])
    return _stacked(scheme, pairs, tuple(problems))


def _pair_up(
    predicted: Annotations, true: Annotations, chosen: Collection[FaceAnnotation | InvalidFace]
) -> tuple[list[Pair], list[str]]:
    """Return (prediction, ground truth) of every chosen face that has one of each, and the problems of the others."""
    pairs: list[Pair] = []
    problems: list[str] = []
    broken = [face.name for source in (predicted, true) for face in source.invalid]
    plain, numbered = _by_stem(predicted.valid), _by_stem(_as_faces(predicted.valid))
    used: set[str] = set()
    for stem, faces in _by_stem(true.valid).items():
        candidates = plain.get(stem) or numbered.get(stem, [])
        used.update(candidate.where for candidate in candidates)
        for face in (face for face in faces if face in chosen):
            matching = [candidate for candidate in candidates if len(faces) == 1 or same_end(candidate.name, face.name)]
            matching = [candidate for candidate in matching if same_end(candidate.name, face.name)] or matching
            same = [candidate for candidate in matching if candidate.name == face.name]
            matching = same or matching
            if not matching:
                if not any(same_end(name, face.name) for name in broken):
                    problems.append(f"{predicted.source}: no prediction for {face.where}; add one named {stem!r}")
            elif reason := _ambiguous(matching, face, () if same else faces):
                problems.append(reason)
            else:
                pairs.append((_most_similar(matching, face), face))
    unused = (face for face in predicted.valid if face.where not in used)
    extra = [face for face in unused if not any(same_end(name, face.name) for name in broken)]
    if extra:
        others = f" and {len(extra) - 1} more have" if len(extra) > 1 else " has"
        problems.append(f"{extra[0].where}{others} no ground truth in {true.source}; add it or take the prediction out")
    return pairs, problems


def _ambiguous(matching: Sequence[FaceAnnotation], face: FaceAnnotation, faces: Sequence[FaceAnnotation]) -> str | None:
    """Return why it is not clear which prediction belongs to which ground truth; None if it is clear."""
    twin = next((other for other in faces if other is not face and same_end(matching[0].name, other.name)), None)
    if twin is not None:
        return f"{matching[0].where}: two ground truths, in {face.where} and {twin.where}; name folders or take one out"
    if len(matching) > 1 and (
        len({candidate.name for candidate in matching}) > 1 or any(candidate.face is None for candidate in matching)
    ):
        return f"{matching[0].where} and {matching[1].where}: two predictions for {face.where}; take one out"
    return None


def _most_similar(matching: Sequence[FaceAnnotation], face: FaceAnnotation) -> FaceAnnotation:
    """Return the face of an image whose tight box is most similar to the ground truth's."""
    return min(matching, key=lambda candidate: float(np.abs(_corners(candidate) - _corners(face)).sum()))


def _corners(face: FaceAnnotation) -> NDArray[np.float32]:
    return np.stack([face.points_px.min(axis=0), face.points_px.max(axis=0)])


def _mismatch(face: FaceAnnotation, scheme: Scheme) -> str | None:
    if face.scheme is not None and face.scheme != scheme.name:
        return (
            f"{face.where}: scheme {face.scheme!r}, but the ground truth has {scheme.name!r}; evaluate each on its own"
        )
    if len(face.points_px) != scheme.points:
        has = f"{face.where}: {len(face.points_px)} points, but scheme {scheme.name!r} has {scheme.points}"
        return f"{has}; fix it or evaluate each scheme on its own"
    return None


def _stacked(scheme: Scheme, pairs: Sequence[Pair], problems: tuple[str, ...]) -> Pairs:
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


def _by_stem(faces: Iterable[FaceAnnotation]) -> dict[str, list[FaceAnnotation]]:
    found: dict[str, list[FaceAnnotation]] = defaultdict(list)
    for face in faces:
        found[face.name.rpartition("/")[2]].append(face)
    return found


def _as_faces(faces: Iterable[FaceAnnotation]) -> list[FaceAnnotation]:
    """Return the faces whose names end in a number, as those of one image."""
    matches = [(face, NUMBERED.fullmatch(face.name)) for face in faces]
    return [replace(face, image=match[1], face=int(match[2])) for face, match in matches if match]
