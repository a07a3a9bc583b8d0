"""Distances between landmarks and their ground truth, as fractions of a length of the face. N faces, L landmarks.

A normaliser is one of the scheme's (`ocular`, `pupil`: the distance between the means of two landmark sets) or `box`:
sqrt(width * height) of the tight box of the ground-truth landmarks.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from unveil.schemes.scheme import Scheme

Floats: TypeAlias = NDArray[np.float64]
Flags: TypeAlias = NDArray[np.bool_]
AnyFloats: TypeAlias = NDArray[np.floating[Any]]
Names: TypeAlias = Sequence[str] | None
"""The faces' names for error messages; None: they are numbered."""

BOX = "box"
OUTLINE_PARTS = ("left cheek", "right cheek", "cheeks", "left jaw", "right jaw", "jaw")
MIN_LENGTH = 1e-6  # of the box's diagonal: below it, points that coincide differ by rounding only


def point_errors(
    predicted_px: AnyFloats, ground_truth_px: AnyFloats, scheme: Scheme, normaliser: str = "ocular", names: Names = None
) -> Floats:
    """Return the distance of each landmark from its ground truth, divided by the face's length, (N, L); 0.01 is 1 %.

    Args:
        predicted_px: (N, L, 2).
        ground_truth_px: (N, L, 2).
        scheme: The landmark scheme of both.
        normaliser: One of `normaliser_names(scheme)`.
        names: The faces' names.

    Raises:
        ValueError: A coordinate is not finite or a length is zero (the message names the face); the shapes differ from
            each other or from the scheme; the scheme has no such normaliser.
    """
    if predicted_px.shape != ground_truth_px.shape:
        raise ValueError(
            f"predictions of shape {predicted_px.shape}, but ground truth of shape {ground_truth_px.shape}"
        )
    lengths_px = normaliser_lengths(ground_truth_px, scheme, normaliser, names)
    _require_finite(predicted_px, "prediction", names)
    offsets_px = predicted_px.astype(np.float64) - ground_truth_px
    errors: Floats = np.linalg.norm(offsets_px, axis=-1) / lengths_px[:, None]
    return errors


def nme(errors: Floats) -> Floats:
    """Return the normalised mean error of each face, (N,). The NME of a set is their mean.

    Args:
        errors: (N, L), of `point_errors`.
    """
    means: Floats = errors.mean(axis=1)
    return means


def nrmse(errors: Floats) -> Floats:
    """Return the normalised root mean square error of each face, (N,): sqrt(mean_k |d_k|²) / length.

    Args:
        errors: (N, L), of `point_errors`.

    Source:
        GAN-IA, equation 5. The printed equation is garbled; this follows the text.
    """
    roots: Floats = np.sqrt(np.mean(errors**2, axis=1))
    return roots


def nme_over(errors: Floats, chosen: Flags) -> float:
    """Return the mean error of some landmarks of all faces, for example of the occluded ones.

    Each landmark has the same weight: NME = visible fraction * visible NME + occluded fraction * occluded NME.

    Args:
        errors: (N, L), of `point_errors`.
        chosen: (N, L).

    Raises:
        ValueError: The shapes differ or no landmark is chosen.
    """
    if chosen.shape != errors.shape:
        raise ValueError(f"errors of shape {errors.shape}, but a choice of shape {chosen.shape}")
    if not chosen.any():
        raise ValueError("no landmark is chosen, so there is no mean error")
    return float(errors[chosen].mean())


def nme_by_region(errors: Floats, scheme: Scheme) -> dict[str, Floats]:
    """Return the mean error of each face in each region of the scheme, (N,) by name; none if it has no regions.

    Args:
        errors: (N, L), of `point_errors`.
        scheme: The landmark scheme.
    """
    parts = (part for found in scheme.hierarchy.levels if found.name == "regions" for part in found.parts)
    return {part.name: nme(errors[:, list(part.points)]) for part in parts}


def outline_landmarks(scheme: Scheme) -> tuple[int, ...]:
    """Return the landmarks on the outline of the face, jaw and cheeks, in rising order; none if the scheme names none.

    Args:
        scheme: The landmark scheme.
    """
    parts = [part for level in scheme.hierarchy.levels for part in level.parts if part.name in OUTLINE_PARTS]
    return tuple(sorted({point for part in parts for point in part.points}))


def contour_errors(
    predicted_px: AnyFloats, ground_truth_px: AnyFloats, scheme: Scheme, normaliser: str = "ocular", names: Names = None
) -> tuple[Floats, Floats] | None:
    """Split the errors of the face's outline into their components along and across the contour.

    Annotators agree across the contour; along it a landmark's place is a convention.

    Args:
        predicted_px: (N, L, 2).
        ground_truth_px: (N, L, 2).
        scheme: The landmark scheme.
        normaliser: One of `normaliser_names(scheme)`.
        names: The faces' names.

    Returns:
        Absolute errors along and across, (N, K) each, for the K landmarks of the outline; None if the scheme has no
        contour there.

    Raises:
        ValueError: As for `point_errors`.
    """
    outline = set(outline_landmarks(scheme))
    contour = next(
        (list(line.points) for line in scheme.contours if len(line.points) > 2 and outline >= set(line.points)), None
    )
    if contour is None:
        return None
    lengths_px = normaliser_lengths(ground_truth_px, scheme, normaliser, names)
    line = ground_truth_px[:, contour].astype(np.float64)
    tangents = np.gradient(line, axis=1)
    tangents /= np.maximum(np.linalg.norm(tangents, axis=-1, keepdims=True), 1e-9)
    offsets = (predicted_px[:, contour] - line) / lengths_px[:, None, None]
    along: Floats = np.abs((offsets * tangents).sum(axis=-1))
    across: Floats = np.abs(offsets[..., 1] * tangents[..., 0] - offsets[..., 0] * tangents[..., 1])
    return along, across


def normaliser_names(scheme: Scheme) -> tuple[str, ...]:
    """Return the names of the scheme's normalisers, and `box`.

    Args:
        scheme: The landmark scheme.
    """
    return (*(name for name in scheme.normalisers if name != BOX), BOX)


def normaliser_lengths(ground_truth_px: AnyFloats, scheme: Scheme, normaliser: str, names: Names = None) -> Floats:
    """Return the length of each face in pixels, (N,).

    Args:
        ground_truth_px: (N, L, 2).
        scheme: The landmark scheme.
        normaliser: One of `normaliser_names(scheme)`.
        names: The faces' names.

    Raises:
        ValueError: As for `point_errors`.
    """
    for face, problem in degenerate_faces(ground_truth_px, scheme, normaliser, names).items():
        raise ValueError(f"{_face(face, names)}: {problem}")
    return _lengths(ground_truth_px.astype(np.float64), scheme, normaliser)


def degenerate_faces(
    ground_truth_px: AnyFloats, scheme: Scheme, normaliser: str | None = None, names: Names = None
) -> dict[int, str]:
    """Return the faces whose length is zero, by index, with the problem.

    Args:
        ground_truth_px: (N, L, 2).
        scheme: The landmark scheme.
        normaliser: One of `normaliser_names(scheme)`; None: all of them.
        names: The faces' names.

    Raises:
        ValueError: As for `point_errors`, except for a length of zero.
    """
    shape = ground_truth_px.shape
    if ground_truth_px.ndim != 3 or shape[1:] != (scheme.points, 2) or not len(ground_truth_px):
        raise ValueError(f"landmarks of shape {shape}, but scheme {scheme.name!r} takes (N, {scheme.points}, 2)")
    if names is not None and len(names) != len(ground_truth_px):
        raise ValueError(f"{len(names)} names for {len(ground_truth_px)} faces")
    if normaliser is not None and normaliser not in normaliser_names(scheme):
        has = ", ".join(normaliser_names(scheme))
        raise ValueError(f"unknown normaliser {normaliser!r}: scheme {scheme.name!r} has {has}")
    _require_finite(ground_truth_px, "ground truth", names)
    points_px = ground_truth_px.astype(np.float64)
    diagonals = np.linalg.norm(np.ptp(points_px, axis=1), axis=-1)
    found: dict[int, str] = {}
    for name in normaliser_names(scheme) if normaliser is None else (normaliser,):
        zero = np.flatnonzero(_lengths(points_px, scheme, name) <= MIN_LENGTH * diagonals).tolist()
        problem = f"the {name} length of its ground truth is zero; fix the landmarks or leave the face out"
        found = dict.fromkeys(zero, problem) | found
    return found


def _lengths(ground_truth_px: Floats, scheme: Scheme, normaliser: str) -> Floats:
    lengths: Floats
    if normaliser == BOX:
        lengths = np.sqrt(np.ptp(ground_truth_px, axis=1).prod(axis=-1))
    else:
        one, other = (ground_truth_px[:, list(side)].mean(axis=1) for side in scheme.normalisers[normaliser])
        lengths = np.linalg.norm(one - other, axis=-1)
    return lengths


def _require_finite(points_px: AnyFloats, what: str, names: Names) -> None:
    for face, landmark, _ in np.argwhere(~np.isfinite(points_px)):
        raise ValueError(f"{_face(face, names)}: landmark {landmark} of the {what} is not a finite number")


def _face(index: int, names: Names) -> str:
    return f"face {index}" if names is None else f"face {index} ({names[index]!r})"
