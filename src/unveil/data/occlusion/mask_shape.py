"""The outline of a worn mask, from 68 landmarks. u runs across, -1 to 1, v down, 0 to 1; M and N count points."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from unveil.schemes.ibug68 import (
    CHEEKS,
    CHIN,
    JAW,
    LOWER_LIDS,
    LOWER_LIP_MIDDLE,
    LOWER_NOSE,
    NOSE_BASE,
    NOSE_LINE,
    NOSE_TIP,
    OUTER_LIPS,
)

Curve = NDArray[np.float64]
"""Points along a line, (N, 2), in face coordinates (`FaceFrame.to_face`)."""

ACROSS, DOWN = 17, 9  # nodes of the patch that the fabric is laid on


@dataclass(frozen=True, eq=False)
class Patch:
    """A surface between four border curves.

    Args:
        nodes: (DOWN, ACROSS, 2).

    Source:
        Coons 1967.
    """

    nodes: NDArray[np.float64]

    @property
    def outline(self) -> Curve:
        """The border, clockwise from the upper left corner, (N, 2)."""
        grid = self.nodes
        return np.concatenate([grid[0, :-1], grid[:-1, -1], grid[-1, :0:-1], grid[:0:-1, 0]])

    def row(self, v: float) -> Curve:
        """Return the line of constant v, (ACROSS, 2).

        Args:
            v: 0 to 1.
        """
        return _between(self.nodes, v * (DOWN - 1))

    def column(self, u: float) -> Curve:
        """Return the line of constant u, (DOWN, 2).

        Args:
            u: -1 to 1.
        """
        return _between(self.nodes.swapaxes(0, 1), (u + 1) / 2 * (ACROSS - 1))


def _between(lines: NDArray[np.float64], at: float) -> Curve:
    first = min(int(at), len(lines) - 2)
    return np.asarray(lines[first] + (at - first) * (lines[first + 1] - lines[first]))


@cache
def _spline(knots: int, samples: int) -> NDArray[np.float64]:
    """Return the matrix (samples, knots) of a Catmull-Rom spline through evenly spaced knots."""
    at = np.linspace(0, knots - 1, samples)
    weights = np.zeros((samples, knots))
    for row, t in enumerate(at):
        first = min(int(t), knots - 2)
        s = t - first
        basis = (
            -0.5 * s + s**2 - 0.5 * s**3,
            1 - 2.5 * s**2 + 1.5 * s**3,
            0.5 * s + 2 * s**2 - 1.5 * s**3,
            -0.5 * s**2 + 0.5 * s**3,
        )
        for offset, weight in zip((-1, 0, 1, 2), basis, strict=True):
            weights[row, min(max(first + offset, 0), knots - 1)] += weight
    return weights


def spline(knots: NDArray[np.float64], samples: int) -> Curve:
    """Return a smooth line through knots, (samples, 2).

    Args:
        knots: (M, 2).
        samples: Points of the line.
    """
    return _spline(len(knots), samples) @ knots


def coons(top: Curve, bottom: Curve, left: Curve, right: Curve) -> Patch:
    """Return the patch between four borders that meet in the corners.

    Args:
        top: Left to right, (ACROSS, 2).
        bottom: Left to right, (ACROSS, 2).
        left: Top to bottom, (DOWN, 2).
        right: Top to bottom, (DOWN, 2).
    """
    u = np.linspace(0, 1, len(top))[None, :, None]
    v = np.linspace(0, 1, len(left))[:, None, None]
    ruled = (1 - v) * top[None] + v * bottom[None] + (1 - u) * left[:, None] + u * right[:, None]
    corners = (1 - v) * ((1 - u) * top[0] + u * top[-1]) + v * ((1 - u) * bottom[0] + u * bottom[-1])
    return Patch(ruled - corners)


@dataclass(frozen=True)
class MaskFit:
    """How a mask is worn and cut. Lengths are in face sizes (eyes to mouth)."""

    top: float
    """Where the upper edge crosses the nose: 0 between the eyes, 3 the tip, 4 the nose's base, 5 the upper lip."""
    ears: tuple[float, float]
    """The jaw landmark of each upper corner, counted from its own ear."""
    cheeks: tuple[float, float]
    """The jaw landmark of each lower corner, counted from its own ear."""
    inset: float
    """How far the side edges stay inside the face, as a fraction of the cheek's width."""
    side: float
    """How far the sides stand out beyond the jaw."""
    chin: float
    """How far the lower edge lies below the chin."""
    square: float
    """The shape of the lower edge: 1 follows the jaw to a point, less is flatter, as a gaiter down the neck."""
    sag: float
    """How far the upper edge hangs between nose and cheek."""
    peak: float
    """How narrow the upper edge's peak at the nose is: 0 is a straight edge."""
    gap: float
    """The least distance of the upper edge from the lower lids."""

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "MaskFit":
        """Return a fit: mostly correct; sometimes slipped to the nose tip, or below the nose over the mouth alone.

        Args:
            rng: The random generator.
        """
        style = rng.random()
        slipped, mouth_only, gaiter = style > 0.8, style > 0.92, style < 0.06
        top = rng.uniform(3.9, 4.8) if mouth_only else rng.uniform(1.6, 3.2) if slipped else rng.uniform(0.15, 1.6)
        ear = rng.uniform(2.2, 3.6) if mouth_only else rng.uniform(0.9, 2.6)
        cheek = rng.uniform(3.0, 4.2) if gaiter else rng.uniform(3.6, 6.0)
        skew = rng.normal(0, 0.2, 2)
        long = rng.random() < 0.1
        return cls(
            top=top,
            ears=(ear + skew[0], ear - skew[0]),
            cheeks=(cheek + skew[1], cheek - skew[1]),
            inset=max(rng.normal(0.03, 0.07), -0.03),
            side=max(rng.normal(0.03, 0.04), -0.02),
            chin=rng.uniform(1.0, 2.2) if gaiter else rng.uniform(0.3, 0.5) if long else rng.uniform(-0.04, 0.26),
            square=rng.uniform(0.1, 0.3) if gaiter else rng.uniform(0.25, 0.85),
            sag=rng.uniform(-0.06, 0.1),
            peak=rng.uniform(0, 1),
            gap=rng.uniform(0.0, 0.1),
        )


def fit_patch(face: NDArray[np.float64], fit: MaskFit) -> Patch:
    """Return the mask on a face.

    Args:
        face: Landmarks (68, 2) in face coordinates.
        fit: How the mask is worn.
    """
    nose = _along(face[list(NOSE_LINE)], np.array([fit.top]))[0]
    left = _side(face, fit, nose, from_left=True)
    right = _side(face, fit, nose, from_left=False)
    bottom = _bottom(face, fit, left[-1], right[-1])
    top = _top(face, fit, nose, left[0], right[0])
    nodes = coons(top, bottom, left, right).nodes
    # The middle column passes over the nose tip; on a turned face that is away from the line from bridge to chin.
    tip = face[NOSE_TIP]
    middle = nodes[:, ACROSS // 2]
    aside = tip[0] - np.interp(tip[1], middle[:, 1], middle[:, 0]) if nose[1] < tip[1] else 0.0
    u, v = np.linspace(-1, 1, ACROSS)[None, :], np.linspace(0, 1, DOWN)[:, None]
    nodes[..., 0] += 0.8 * aside * (1 - u**2) * 4 * v * (1 - v)
    return Patch(nodes)


def _along(path: Curve, steps: NDArray[np.float64]) -> Curve:
    """Return the points (N, 2) at so many steps along a polyline."""
    steps = steps.clip(0, len(path) - 1)
    first = np.minimum(steps.astype(np.int64), len(path) - 2)
    return np.asarray(path[first] + (steps - first)[:, None] * (path[first + 1] - path[first]))


def _side(face: NDArray[np.float64], fit: MaskFit, nose: NDArray[np.float64], from_left: bool) -> Curve:
    """Return a side edge, top to bottom, (DOWN, 2): along the jaw, moved out, or in on the near side of the head."""
    jaw, sign = (face[JAW], -1.0) if from_left else (face[JAW][::-1], 1.0)
    first, last = (fit.ears[0], fit.cheeks[0]) if from_left else (fit.ears[1], fit.cheeks[1])
    # However the head is tilted, the upper corner stays above the mouth.
    half = np.maximum.accumulate(jaw[: CHIN + 1, 1])
    lowest = float(np.interp(max(nose[1] + 0.2, face[NOSE_TIP, 1] + 0.1), half, np.arange(len(half))))
    first = max(min(first, lowest), 0.2)
    knots = _along(jaw, np.linspace(first, max(last, first + 0.8), 4))
    middle_x = (face[NOSE_TIP, 0] + face[NOSE_BASE, 0]) / 2
    widths = np.abs(face[list(CHEEKS), 0] - middle_x)
    width = widths[0] if from_left else widths[1]
    # A turned face shows its cheek as far as the ear; a mask ends before that.
    turned = max(width / max(float(widths.mean()), 1e-3) - 1.0, 0.0)
    inset = min(fit.inset + 0.35 * turned, 0.45)
    knots[:, 0] += (middle_x - knots[:, 0]) * inset * np.linspace(1, 0.6, 4) + sign * fit.side
    # The nose and lips stay behind the mask, even where they stand out beyond the cheek.
    inner = np.concatenate([face[LOWER_NOSE] if fit.top < 3 else face[[NOSE_BASE]], face[OUTER_LIPS]])
    limit = float((sign * inner[:, 0]).max()) + 0.05
    knots[:, 0] = sign * np.maximum(sign * knots[:, 0], limit)
    knots[:, 1] = np.maximum(knots[:, 1], nose[1] - 0.05)
    return spline(knots, DOWN)


def _bottom(face: NDArray[np.float64], fit: MaskFit, start: NDArray[np.float64], end: NDArray[np.float64]) -> Curve:
    """Return the lower edge, left to right, (ACROSS, 2): the jaw's line, lowered under the chin."""
    knots = _along(face[JAW], np.linspace(fit.cheeks[0], 16 - fit.cheeks[1], 9))
    weight = np.sin(np.linspace(0, np.pi, 9)) ** fit.square
    middle = face[CHIN]
    out = knots - np.array([middle[0], face[LOWER_LIP_MIDDLE, 1]])
    knots += out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-6) * fit.side
    knots[:, 1] += fit.chin * weight
    knots[0], knots[-1] = start, end
    return spline(knots, ACROSS)


def _top(
    face: NDArray[np.float64],
    fit: MaskFit,
    nose: NDArray[np.float64],
    start: NDArray[np.float64],
    end: NDArray[np.float64],
) -> Curve:
    """Return the upper edge, left to right, (ACROSS, 2): from one cheek over the nose to the other."""
    halves = []
    for corner, lids in zip((start, end), LOWER_LIDS, strict=True):
        reach = np.array([0.0, 0.3, 0.6, 0.84])[:, None]
        half = corner + reach * (nose - corner)
        half[1:, 1] += fit.sag * np.array([0.8, 1.0, 0.5])
        half[2:, 1] += fit.peak * np.array([0.05, 0.06])
        lid = float(face[list(lids), 1].max()) + fit.gap
        half[1:3, 1] = np.maximum(half[1:3, 1], lid)
        half[3, 1] = max(half[3, 1], lid - 0.12)
        halves.append(half)
    return spline(np.concatenate([halves[0], nose[None], halves[1][::-1]]), ACROSS)
