"""How far landmarks are from the truth, in shares of a named length of the face. N faces, L landmarks.

A normaliser is one of the scheme's (`ocular`, `pupil`: the distance between the means of two landmark sets) or `box`:
sqrt(width * height) of the tight box round the true landmarks.
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
"""What the faces are called in error messages; without it they are numbered."""

BOX = "box"
NO_LENGTH = 1e-6  # of the box's diagonal: below it, points that coincide differ by rounding only


def point_errors(
    predicted_px: AnyFloats, truth_px: AnyFloats, scheme: Scheme, normaliser: str = "ocular", names: Names = None
) -> Floats:
    """Each landmark's distance from the truth over its face's length: (N, L, 2) twice to (N, L), 0.01 being 1 %.

    ValueError, naming the face, on a coordinate that is not finite or a length of zero; on shapes that do not agree
    with each other or with the scheme; on a normaliser that the scheme does not have.
    """
    if predicted_px.shape != truth_px.shape:
        raise ValueError(f"predictions of shape {predicted_px.shape}, but a truth of shape {truth_px.shape}")
    lengths_px = normaliser_lengths(truth_px, scheme, normaliser, names)
    _need_finite(predicted_px, "prediction", names)
    away_px = predicted_px.astype(np.float64) - truth_px
    distances: Floats = np.linalg.norm(away_px, axis=-1) / lengths_px[:, None]
    return distances


def nme(errors: Floats) -> Floats:
    """Each face's mean error, (N, L) of `point_errors` to (N,); the set's NME is their mean."""
    means: Floats = errors.mean(axis=1)
    return means


def nrmse(errors: Floats) -> Floats:
    """Each face's root mean square error, (N, L) to (N,): sqrt(mean_k |d_k|²) / length.

    Equation 5 of the GAN-IA paper is garbled as printed; this is what its text says.
    """
    roots: Floats = np.sqrt(np.mean(errors**2, axis=1))
    return roots


def nme_over(errors: Floats, chosen: Flags) -> float:
    """The mean error of the chosen landmarks of all faces, (N, L) and (N, L): visible ones, say, or occluded ones.

    Every landmark counts the same, so that NME = share visible * NME visible + share occluded * NME occluded.
    ValueError if the shapes differ or no landmark is chosen.
    """
    if chosen.shape != errors.shape:
        raise ValueError(f"errors of shape {errors.shape}, but a choice of shape {chosen.shape}")
    if not chosen.any():
        raise ValueError("no landmark is chosen, so there is no mean error")
    return float(errors[chosen].mean())


def nme_by_region(errors: Floats, scheme: Scheme, level: str = "regions") -> dict[str, Floats]:
    """Each face's mean error in every part of a level of the scheme's hierarchy: part name to (N,).

    A scheme without that level, which a scheme file may leave out, has no entries.
    """
    parts = (part for found in scheme.hierarchy.levels if found.name == level for part in found.parts)
    return {part.name: nme(errors[:, list(part.points)]) for part in parts}


def normaliser_names(scheme: Scheme) -> tuple[str, ...]:
    """What errors can be divided by: the scheme's own normalisers, then `box`."""
    return (*(name for name in scheme.normalisers if name != BOX), BOX)


def normaliser_lengths(truth_px: AnyFloats, scheme: Scheme, normaliser: str, names: Names = None) -> Floats:
    """Each face's length in pixels, (N, L, 2) to (N,); ValueError as for `point_errors`."""
    faults = immeasurable(truth_px, scheme, normaliser, names)
    for face, fault in faults.items():
        raise ValueError(f"{_face(face, names)}: {fault}")
    return _lengths(truth_px.astype(np.float64), scheme, normaliser)


def immeasurable(truth_px: AnyFloats, scheme: Scheme, normaliser: str, names: Names = None) -> dict[int, str]:
    """The faces of (N, L, 2) whose length is zero, by index, and why: those to leave out so as not to lose the rest."""
    if truth_px.ndim != 3 or truth_px.shape[1:] != (scheme.points, 2) or not len(truth_px):
        takes = f"(N, {scheme.points}, 2)"
        raise ValueError(f"landmarks of shape {truth_px.shape}, but scheme {scheme.name!r} takes {takes}")
    if names is not None and len(names) != len(truth_px):
        raise ValueError(f"{len(names)} names for {len(truth_px)} faces")
    if normaliser not in normaliser_names(scheme):
        has = ", ".join(normaliser_names(scheme))
        raise ValueError(f"unknown normaliser {normaliser!r}: scheme {scheme.name!r} has {has}")
    _need_finite(truth_px, "truth", names)
    diagonals = np.linalg.norm(np.ptp(truth_px.astype(np.float64), axis=1), axis=-1)
    short = _lengths(truth_px.astype(np.float64), scheme, normaliser) <= NO_LENGTH * diagonals
    reason = f"the {normaliser} length of its true landmarks is zero; mend them or leave the face out"
    return {int(face): reason for face in np.flatnonzero(short)}


def _lengths(truth_px: Floats, scheme: Scheme, normaliser: str) -> Floats:
    lengths: Floats
    if normaliser == BOX:
        lengths = np.sqrt(np.ptp(truth_px, axis=1).prod(axis=-1))
    else:
        one, other = (truth_px[:, list(side)].mean(axis=1) for side in scheme.normalisers[normaliser])
        lengths = np.linalg.norm(one - other, axis=-1)
    return lengths


def _need_finite(points_px: AnyFloats, what: str, names: Names) -> None:
    for face, landmark, _ in np.argwhere(~np.isfinite(points_px)):
        raise ValueError(f"{_face(face, names)}: landmark {landmark} of the {what} is not a finite number")


def _face(index: int, names: Names) -> str:
    return f"face {index}" if names is None else f"face {index} ({names[index]!r})"
