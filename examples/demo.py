"""One photograph, plain and under four synthetic occluders: what `unveil align` says of each, on one sheet."""

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.data import astronaut

import unveil
from unveil.cli import main as unveil_command
from unveil.data.occlusion import Occluded, is_occluded, occluder
from unveil.geometry import Crop
from unveil.inference.drawing import VISIBLE_FROM, draw_faces
from unveil.schemes.pose import five_points
from unveil.schemes.scheme import Scheme, get_scheme
from unveil.types import Box, Face, Image, Points, Pose

# Kind and seed; the seeds are chosen for four different things in front of the face, not for the figures.
OCCLUDERS = {"sunglasses": 8, "mask": 2, "polygon": 4, "noise": 9}
TILE, CAPTION, MARGIN = 320, 52, 1.4  # pixels, pixels, diagonals of the face's box
INK, PAPER = (40, 40, 40), 255


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """A photograph that was aligned, what hides its face, and the face found; None where none was."""

    name: str
    image: Image
    mask: NDArray[np.bool_]
    face: Face | None


def main(out: Path) -> int:
    """Writes photographs, overlays, JSON and `demo.png` below `out`; the exit status is that of `unveil align`."""
    # NASA's portrait of Eileen Collins, public domain
    plain = np.asarray(astronaut(), np.uint8)  # type: ignore[no-untyped-call]
    faces = unveil.Pipeline()(plain)
    if not faces:
        print("error: no face found on the plain photograph", file=sys.stderr)
        return 2
    pictures = {"plain": Occluded(plain, np.zeros(plain.shape[:2], np.bool_))}
    for kind, seed in OCCLUDERS.items():
        pictures[kind] = occluder(kind)(plain, faces[0].landmarks, np.random.default_rng(seed))
    paths = [write_png(out / "photographs" / f"{name}.png", picture.image) for name, picture in pictures.items()]

    arguments = ["align", *map(str, paths), "--out", str(out), "--save", "json", "overlay"]
    print("unveil", *arguments, flush=True)
    status = unveil_command(arguments)
    if status:
        return status

    scheme = get_scheme(json.loads((out / "plain.json").read_text())["scheme"])
    shown = [
        Shown(name, picture.image, picture.mask, read_face(out / f"{name}.json", scheme, near=faces[0].landmarks))
        for name, picture in pictures.items()
    ]
    sheet = contact_sheet(shown, Crop.around(faces[0].box, MARGIN), scheme)
    print_table(shown, scheme)
    print(f"photographs  {out / 'photographs'}")
    print(f"landmarks    {out / 'NAME.json'}")
    print(f"overlays     {out / 'NAME.overlay.png'}")
    print(f"all in one   {write_png(out / 'demo.png', sheet)}")
    return 0


def read_face(path: Path, scheme: Scheme, near: Points) -> Face | None:
    """The face of a JSON file whose landmarks lie nearest to those given; None if the file has no face."""
    records = json.loads(path.read_text())["faces"]
    if not records:
        return None
    record = min(records, key=lambda record: float(np.abs(np.array(record["landmarks"]) - near).mean()))
    landmarks = np.array(record["landmarks"], np.float32)
    return Face(
        box=Box(*record["box"]),
        score=record["score"],
        landmarks=landmarks,
        visibility=np.array(record["visibility"], np.float32),
        uncertainty=np.array(record["uncertainty"], np.float32),
        pose=Pose(**record["pose"]),
        five_points=five_points(scheme, landmarks),
    )


def print_table(shown: list[Shown], scheme: Scheme) -> None:
    """How many landmarks each occluder covers, how many of those were called hidden, and how far the landmarks moved.

    The move is the mean distance to the result on the plain photograph, in percent of the distance between the eyes'
    outer corners. It says how much the occluder disturbs the model, not how far the model is from the truth.
    """
    reference = shown[0].face
    print(f"\n{'photograph':<13}{'covered':>8}{'of these called hidden':>24}{'landmarks moved':>17}")
    for picture in shown:
        face = picture.face
        if face is None or reference is None:
            print(f"{picture.name:<13}no face found")
            continue
        under = is_occluded(reference.landmarks, picture.mask)
        hidden = int((under & ~visible_landmarks(face)).sum())
        left, right = (reference.landmarks[list(side)].mean(axis=0) for side in scheme.normalisers["ocular"])
        moved = np.linalg.norm(face.landmarks - reference.landmarks, axis=1).mean() / np.linalg.norm(right - left)
        print(f"{picture.name:<13}{int(under.sum()):>8}{hidden:>24}{moved:>16.1%}")
    print()


def visible_landmarks(face: Face) -> NDArray[np.bool_]:
    """Which landmarks are visible; all of them for a model that predicts no visibility."""
    if face.visibility is None:
        return np.ones(len(face.landmarks), np.bool_)
    return np.asarray(face.visibility >= VISIBLE_FROM, np.bool_)


def contact_sheet(shown: list[Shown], crop: Crop, scheme: Scheme) -> Image:
    """The photographs side by side, below them the same with landmarks, and a line on each."""
    return np.concatenate([column(picture, crop, scheme) for picture in shown], axis=1)


def column(picture: Shown, crop: Crop, scheme: Scheme) -> Image:
    """One photograph's tiles, one above the other, over its caption."""
    above = crop.extract(picture.image, TILE)
    caption = np.full((CAPTION, TILE, 3), PAPER, np.uint8)
    if picture.face is None:
        below, line = above, f"{picture.name}: no face found"
    else:
        below = draw_faces(above, [in_tile(picture.face, crop)], scheme)
        seen = int(visible_landmarks(picture.face).sum())
        line = f"{picture.name}: {seen} of {scheme.points} visible"
    cv2.putText(caption, line, (10, 33), cv2.FONT_HERSHEY_SIMPLEX, 0.66, INK, 1, cv2.LINE_AA)
    return np.concatenate([above, below, caption])


def in_tile(face: Face, crop: Crop) -> Face:
    """The face in the tile's pixels, so that lines and dots are drawn after the enlargement and stay sharp."""

    def moved(points_px: NDArray[np.float32]) -> Points:
        return ((crop.to_unit(points_px) + 1) * (TILE / 2) - 0.5).astype(np.float32)

    corners = moved(np.array(face.box, np.float32).reshape(2, 2)).ravel().tolist()
    return replace(
        face,
        box=Box(*corners),
        landmarks=moved(face.landmarks),
        uncertainty=None if face.uncertainty is None else face.uncertainty * np.float32(TILE / crop.side),
        five_points=None if face.five_points is None else moved(face.five_points),
    )


def write_png(path: Path, image_rgb: Image) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), cv2.cvtColor(image_rgb, cv2.COLOR_RGB2BGR)):
        raise OSError(f"{path}: OpenCV could not write the picture")
    return path


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "out")))
