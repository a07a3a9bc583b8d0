"""Synthetic clips: a photograph under known motions and moving occluders, with known landmarks. L landmarks.

The photograph is NASA's public-domain portrait of Eileen Collins, from scikit-image.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.data import astronaut

import unveil
from unveil.data.occlusion import is_occluded, occluder
from unveil.data.occlusion.textures import texture
from unveil.types import Image, Points

FPS = 30
WIDTH, HEIGHT = 640, 480
FACE = (223.0, 134.0)  # the face's middle in the photograph
ZOOM = 1.5  # the face is then some 130 pixels wide
NOISE, QUALITY = 4.0, 80  # sensor noise in grey levels, quality of the JPEG like a camera's compression
PANEL = 340  # pixels a side: occludes the whole face at rest
BAR = 70  # pixels of a bar's width: about half of the face
SLIDE_S = 0.3  # a panel takes to come or go


@dataclass(frozen=True, slots=True)
class Clip:
    """Amplitudes and frequencies of the motion, and the occluders."""

    name: str
    seconds: float = 4.0
    sway: tuple[float, float] = (0.0, 0.0)
    """Horizontal motion: pixels and Hz."""
    nod: tuple[float, float] = (0.0, 0.0)
    """Vertical motion: pixels and Hz."""
    turn: tuple[float, float] = (0.0, 0.0)
    """Rotation in the image plane: degrees and Hz."""
    zoom: tuple[float, float] = (1.0, 0.0)
    """Factor and Hz."""
    occluder: str = ""
    """Name of an occluder that moves with the face."""
    bar: bool = False
    """Whether a bar of half the face's width passes to and fro."""
    occluded_s: tuple[float, float] | None = None
    """Start and end of the time in which a panel occludes the face, in seconds."""

    def matrix(self, time_s: float) -> NDArray[np.float64]:
        """Return the matrix (2, 3) from pixels of the photograph to pixels of the frame."""

        def wave(hertz: float) -> float:
            return math.sin(math.tau * hertz * time_s)

        angle = math.radians(self.turn[0]) * wave(self.turn[1])
        scale = ZOOM * self.zoom[0] ** wave(self.zoom[1])
        turned = scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        middle = (WIDTH / 2 + self.sway[0] * wave(self.sway[1]), HEIGHT / 2 + 10 + self.nod[0] * wave(self.nod[1]))
        return np.column_stack([turned, middle - turned @ FACE])


STILL = Clip("still")
MOVING = (
    Clip("sway", sway=(70, 0.5)),
    Clip("nod", nod=(30, 1.0)),
    Clip("fast sway", sway=(80, 1.2)),
    Clip("turn", turn=(20, 0.4)),
    Clip("zoom", zoom=(1.4, 0.4)),
    Clip("all at once", sway=(70, 0.5), turn=(20, 0.4), zoom=(1.4, 0.4)),
)
OCCLUDED = (
    Clip("sway, face mask", sway=(70, 0.5), occluder="mask"),
    Clip("sway, sunglasses", sway=(70, 0.5), occluder="sunglasses"),
    Clip("sway, bar passing", sway=(70, 0.5), bar=True),
    Clip("all at once, bar passing", sway=(70, 0.5), turn=(20, 0.4), zoom=(1.4, 0.4), bar=True),
)
FULLY_OCCLUDED = tuple(
    replace(motion, name=f"{motion.name}, occluded {long_s:g} s", seconds=3 + long_s, occluded_s=(1, 1 + long_s))
    for motion in (STILL, MOVING[0])
    for long_s in (0.5, 2.0)
)


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """A frame with its time, its true landmarks (L, 2) and the occluded fraction of them."""

    time_s: float
    image_rgb: Image
    ground_truth_px: Points
    occluded: float


@cache
def portrait() -> tuple[Image, Points]:
    """Return the photograph and its landmarks: the prediction of the model, averaged with the mirrored one."""
    still = np.asarray(astronaut(), np.uint8)  # type: ignore[no-untyped-call]
    return still, unveil.Pipeline()(still, flip_average=True)[0].landmarks


def play(clip: Clip, seed: int = 0) -> Iterator[Shot]:
    """Yield the frames of a clip, the same ones for the same seed."""
    rng = np.random.default_rng(seed)
    still, points_px = portrait()
    mask = np.zeros(still.shape[:2], np.bool_)
    if clip.occluder:
        occluded = occluder(clip.occluder)(still, points_px, rng)
        still, mask = occluded.image, occluded.mask
    panel = np.clip(texture(rng, HEIGHT, PANEL, still), 0, 255).astype(np.uint8)
    under_occluder = is_occluded(points_px, mask)
    for i in range(round(clip.seconds * FPS)):
        matrix = clip.matrix(i / FPS)
        ground_truth = (points_px @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)
        image = cv2.warpAffine(still, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        left, right = _obstacle(clip, i / FPS)
        image[:, left:right] = panel[:, : right - left]
        under = under_occluder | ((ground_truth[:, 0] >= left) & (ground_truth[:, 0] < right))
        yield Shot(i / FPS, _recorded(np.asarray(image, np.uint8), rng), ground_truth, float(under.mean()))


def _obstacle(clip: Clip, time_s: float) -> tuple[int, int]:
    """Return the first and last column that a bar or a panel covers; equal if it is outside."""
    if clip.bar:
        middle, width = WIDTH / 2 + 160 * math.sin(math.tau * 0.4 * time_s), BAR
    elif clip.occluded_s is not None:
        before, after = clip.occluded_s[0] - time_s, time_s - clip.occluded_s[1]
        aside = max(before, after, 0.0) / SLIDE_S * PANEL * 1.3
        at = clip.matrix((clip.occluded_s[0] + clip.occluded_s[1]) / 2) @ (*FACE, 1)
        middle, width = at[0] + math.copysign(aside, after), PANEL
    else:
        return 0, 0
    left, right = (int(np.clip(edge, 0, WIDTH)) for edge in (middle - width / 2, middle + width / 2))
    return left, right


def _recorded(image_rgb: Image, rng: np.random.Generator) -> Image:
    """Add the noise and the compression of a camera."""
    noisy = np.clip(image_rgb + rng.normal(0, NOISE, image_rgb.shape) + 0.5, 0, 255).astype(np.uint8)
    encoded = cv2.imencode(".jpg", noisy[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR_RGB), np.uint8)
