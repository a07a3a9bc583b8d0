"""One photograph, plain and under four synthetic occluders: the result of `unveil align` on each, on one sheet."""

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
from unveil.geometry import Crop, unit_to_crop_px
from unveil.inference.drawing import VISIBLE_FROM, draw_faces
from unveil.io.images import write_png
from unveil.schemes.pose import five_points
from unveil.schemes.scheme import Scheme, get_scheme
from unveil.types import Box, Face, Image, Points, Pose

# Kind and seed; the seeds are chosen for four different occluders, not for the figures.
OCCLUDERS = {"sunglasses": 8, "mask": 2, "polygon": 4, "noise": 9}
TILE, CAPTION, MARGIN = 320, 52, 1.4  # pixels, pixels, diagonals of the face's box
INK, PAPER = (40, 40, 40), 255


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """An aligned image, its occluder's mask, and the detected face; None if there is none."""

    name: str
    image: Image
    mask: NDArray[np.bool_]
    face: Face | None


def main(out: Path) -> int:
    """Write photographs, overlays, JSON and `demo.png` below `out`; the exit status is that of `unveil align`."""
    # NASA's portrait of Eileen Collins, public domain
    plain = np.asarray(astronaut(), np.uint8)  # type: ignore[no-untyped-call]
    faces = unveil.Pipeline()(plain)
    if not faces:
        print("error: no face found on the plain photograph", file=sys.stderr)
        return 2
    images = {"plain": Occluded(plain, np.zeros(plain.shape[:2], np.bool_))}
    for kind, seed in OCCLUDERS.items():
        images[kind] = occluder(kind)(plain, faces[0].landmarks, np.random.default_rng(seed))
    photographs = out / "photographs"
    photographs.mkdir(parents=True, exist_ok=True)
    paths = [photographs / f"{name}.png" for name in images]
    for path, item in zip(paths, images.values(), strict=True):
        write_png(path, item.image)

    arguments = ["align", *map(str, paths), "--out", str(out), "--save", "json", "overlay"]
    print("unveil", *arguments, flush=True)
    status = unveil_command(arguments)
    if status:
        return status

    scheme = get_scheme(json.loads((out / "plain.json").read_text())["scheme"])
    shown = [
        Shown(name, item.image, item.mask, read_face(out / f"{name}.json", scheme, near=faces[0].landmarks))
        for name, item in images.items()
    ]
    sheet = contact_sheet(shown, Crop.around(faces[0].box, MARGIN), scheme)
    print_table(shown, scheme)
    write_png(out / "demo.png", sheet)
    print(f"photographs  {photographs}")
    print(f"landmarks    {out / 'NAME.json'}")
    print(f"overlays     {out / 'NAME.overlay.png'}")
    print(f"all in one   {out / 'demo.png'}")
    return 0


def read_face(path: Path, scheme: Scheme, near: Points) -> Face | None:
    """Return the face of a JSON file whose landmarks are nearest to those given; None if the file has no face."""
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
    """Print how many landmarks are occluded, how many of them are predicted as occluded, and how far landmarks moved.

    The move is the mean distance to the result on the plain photograph, in percent of the distance between the eyes'
    outer corners. It says how much the occluder disturbs the model, not how far the model is from the truth.
    """
    reference = shown[0].face
    print(f"\n{'photograph':<13}{'covered':>8}{'of these predicted occluded':>28}{'landmarks moved':>17}")
    for item in shown:
        face = item.face
        if face is None or reference is None:
            print(f"{item.name:<13}no face found")
            continue
        under = is_occluded(reference.landmarks, item.mask)
        occluded = int((under & ~visible_landmarks(face)).sum())
        left, right = (reference.landmarks[list(side)].mean(axis=0) for side in scheme.normalisers["ocular"])
        moved = np.linalg.norm(face.landmarks - reference.landmarks, axis=1).mean() / np.linalg.norm(right - left)
        print(f"{item.name:<13}{int(under.sum()):>8}{occluded:>28}{moved:>16.1%}")
    print()


def visible_landmarks(face: Face) -> NDArray[np.bool_]:
    """Return which landmarks are visible; all of them for a model that predicts no visibility."""
    if face.visibility is None:
        return np.ones(len(face.landmarks), np.bool_)
    return np.asarray(face.visibility >= VISIBLE_FROM, np.bool_)


def contact_sheet(shown: list[Shown], crop: Crop, scheme: Scheme) -> Image:
    """Return the photographs side by side, with the landmarks and a line of text below each."""
    return np.concatenate([column(item, crop, scheme) for item in shown], axis=1)


def column(item: Shown, crop: Crop, scheme: Scheme) -> Image:
    """Return one photograph without and with landmarks, above its caption."""
    above = crop.extract(item.image, TILE)
    caption = np.full((CAPTION, TILE, 3), PAPER, np.uint8)
    if item.face is None:
        below, line = above, f"{item.name}: no face found"
    else:
        below = draw_faces(above, [in_tile(item.face, crop)], scheme)
        visible = int(visible_landmarks(item.face).sum())
        line = f"{item.name}: {visible} of {scheme.points} visible"
    cv2.putText(caption, line, (10, 33), cv2.FONT_HERSHEY_SIMPLEX, 0.66, INK, 1, cv2.LINE_AA)
    return np.concatenate([above, below, caption])


def in_tile(face: Face, crop: Crop) -> Face:
    """Return the face in pixels of the tile, so that lines and dots are drawn after the enlargement and stay sharp."""

    def moved(points_px: Points) -> Points:
        return unit_to_crop_px(crop.to_unit(points_px), TILE)

    corners = moved(np.array(face.box, np.float32).reshape(2, 2)).ravel().tolist()
    return replace(
        face,
        box=Box(*corners),
        landmarks=moved(face.landmarks),
        uncertainty=None if face.uncertainty is None else face.uncertainty * np.float32(TILE / crop.side),
        five_points=None if face.five_points is None else moved(face.five_points),
    )


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "out")))
