"""Conversion of the 68 iBUG landmarks to the 98 of WFLW and the 29 of COFW by rule, to test pipelines of those schemes.

The converted landmarks are no annotation: lids and brows are interpolated.
"""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from unveil.schemes.ibug68 import JAW, LEFT_BROW, LEFT_EYE, RIGHT_BROW, RIGHT_EYE
from unveil.schemes.scheme import COFW29_NAMES, WFLW98, WFLW98_TO_IBUG68
from unveil.types import Points

BROW_THICKNESS = 0.28  # relative to the distance from the middle of the brow to that of the eye

COFW29_TO_IBUG68: Mapping[str, int] = MappingProxyType(
    {
        **{"left brow outer": 17, "right brow outer": 26, "left brow inner": 21, "right brow inner": 22},
        **{"left brow top": 19, "right brow top": 24},
        **{"left eye outer": 36, "right eye outer": 45, "left eye inner": 39, "right eye inner": 42},
        **{"left nostril": 31, "right nostril": 35, "nose tip": 30, "nose base": 33},
        **{"left mouth corner": 48, "right mouth corner": 54, "upper lip top": 51, "upper lip bottom": 62},
        **{"lower lip top": 66, "lower lip bottom": 57, "chin": 8},
    }
)
"""The landmarks of COFW that are among the 68."""


def halfway(line: Points) -> NDArray[np.float64]:
    """Return the points midway between neighbours on the cubic spline through a line, (N - 1, 2).

    Args:
        line: (N, 2).
    """
    from scipy.interpolate import CubicSpline

    at = np.arange(len(line))
    return np.asarray(CubicSpline(at, line.astype(np.float64))(at[:-1] + 0.5))


def to_wflw98(points: Points) -> Points:
    """Return landmarks as WFLW's 98, which contain the 68 unchanged, (98, 2).

    Args:
        points: (68, 2).
    """
    parts = WFLW98.hierarchy.parts
    converted = np.full((WFLW98.points, 2), np.nan, np.float32)
    converted[list(WFLW98_TO_IBUG68)] = points
    converted[list(WFLW98.contours[0].points[1::2])] = halfway(points[JAW])
    for side, brow, without_outer_end, eye in (
        ("left", points[LEFT_BROW], slice(1, None), points[LEFT_EYE]),
        ("right", points[RIGHT_BROW], slice(-1), points[RIGHT_EYE]),
    ):
        lower = brow[without_outer_end] + _thickness(brow, eye)
        converted[list(parts[f"{side} brow"])[5:]] = lower[::-1]
        outline = list(parts[f"{side} eye"])
        converted[[outline[2], outline[6]]] = _lids(eye)
        converted[outline[-1]] = eye.mean(axis=0)
    return converted


def to_cofw29(points: Points) -> Points:
    """Return landmarks as COFW's 29, (29, 2).

    Args:
        points: (68, 2).
    """
    named = {name: points[index] for name, index in COFW29_TO_IBUG68.items()}
    for side, brow, eye in (
        ("left", points[LEFT_BROW], points[LEFT_EYE]),
        ("right", points[RIGHT_BROW], points[RIGHT_EYE]),
    ):
        named[f"{side} brow bottom"] = named[f"{side} brow top"] + _thickness(brow, eye)
        named[f"{side} lid top"], named[f"{side} lid bottom"] = _lids(eye)
        named[f"{side} pupil"] = eye.mean(axis=0)
    return np.stack([named[name] for name in COFW29_NAMES]).astype(np.float32)


def _thickness(brow: Points, eye: Points) -> Points:
    """Return the vector from a brow's upper edge to its lower edge, (2,)."""
    thickness: Points = BROW_THICKNESS * (eye.mean(axis=0) - brow.mean(axis=0))
    return thickness


def _lids(eye: Points) -> Points:
    """Return the middles of the upper and lower lid of an eye (6, 2) that starts at its left corner: (2, 2)."""
    upper, lower = halfway(eye[:4])[1], halfway(np.concatenate([eye[3:], eye[:1]]))[1]
    return np.stack([upper, lower]).astype(np.float32)
