"""Run `unveil align` on one photograph without and with four synthetic occluders, and write one contact sheet."""

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

# Kind and seed. The seeds give four different occluders; they were not selected by their results.
OCCLUDERS = {"sunglasses": 8, "mask": 2, "polygon": 4, "noise": 9}
TILE, CAPTION, MARGIN = 320, 52, 1.4  # pixels, pixels, diagonals of the face box
INK, PAPER = (40, 40, 40), 255


@dataclass(frozen=True, slots=True, eq=False)
class DemoImage:
    """An image of the sheet, the mask of its occluder, and the detected face; None without a detection."""

    name: str
    image: Image
    mask: NDArray[np.bool_]
    face: Face | None


def main(out: Path) -> int:
    """Write photographs, overlays, JSON and `demo.png` below `out`.

    Args:
        out: The folder.

    Returns:
        The exit status of `unveil align`, or 2 if the photograph without occluder has no face.
    """
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
        DemoImage(name, item.image, item.mask, read_face(out / f"{name}.json", scheme, reference_px=faces[0].landmarks))
        for name, item in images.items()
    ]
    sheet = contact_sheet(shown, Crop.around(faces[0].box, MARGIN), scheme)
    print_table(shown, scheme)
    write_png(out / "demo.png", sheet)
    print(f"photographs  {photographs}")
    print(f"landmarks    {out / 'NAME.json'}")
    print(f"overlays     {out / 'NAME.overlay.png'}")
    print(f"sheet        {out / 'demo.png'}")
    return 0


def read_face(path: Path, scheme: Scheme, reference_px: Points) -> Face | None:
    """Return the face of a JSON file whose landmarks are nearest to the reference; None if the file has no face."""
    records = json.loads(path.read_text())["faces"]
    if not records:
        return None
    record = min(records, key=lambda record: float(np.abs(np.array(record["landmarks"]) - reference_px).mean()))
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


def print_table(shown: list[DemoImage], scheme: Scheme) -> None:
    """Print the occluded landmarks, how many of them are predicted as occluded, and the displacement of all landmarks.

    The displacement is the mean distance to the result on the plain photograph, as a fraction of the inter-ocular
    distance. It measures the effect of the occluder, not the error against a ground truth.
    """
    reference = shown[0].face
    print(f"\n{'photograph':<13}{'occluded':>9}{'of these predicted occluded':>28}{'displacement':>14}")
    for item in shown:
        face = item.face
        if face is None or reference is None:
            print(f"{item.name:<13}no face found")
            continue
        occluded = is_occluded(reference.landmarks, item.mask)
        predicted = int((occluded & ~visible_landmarks(face)).sum())
        left, right = (reference.landmarks[list(side)].mean(axis=0) for side in scheme.normalisers["ocular"])
        distances_px = np.linalg.norm(face.landmarks - reference.landmarks, axis=1)
        displacement = distances_px.mean() / np.linalg.norm(right - left)
        print(f"{item.name:<13}{int(occluded.sum()):>9}{predicted:>28}{displacement:>14.1%}")
    print()


def visible_landmarks(face: Face) -> NDArray[np.bool_]:
    """Return which landmarks are visible; all of them for a model that predicts no visibility."""
    if face.visibility is None:
        return np.ones(len(face.landmarks), np.bool_)
    return np.asarray(face.visibility >= VISIBLE_FROM, np.bool_)


def contact_sheet(shown: list[DemoImage], crop: Crop, scheme: Scheme) -> Image:
    """Return all columns side by side."""
    return np.concatenate([column(item, crop, scheme) for item in shown], axis=1)


def column(item: DemoImage, crop: Crop, scheme: Scheme) -> Image:
    """Return one photograph without landmarks, the same with landmarks, and a caption, from top to bottom."""
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
    """Return the face in pixels of the tile, so that it can be drawn after the enlargement."""

    def tile_px(points_px: Points) -> Points:
        return unit_to_crop_px(crop.to_unit(points_px), TILE)

    corners = tile_px(np.array(face.box, np.float32).reshape(2, 2)).ravel().tolist()
    return replace(
        face,
        box=Box(*corners),
        landmarks=tile_px(face.landmarks),
        uncertainty=None if face.uncertainty is None else face.uncertainty * np.float32(TILE / crop.side),
        five_points=None if face.five_points is None else tile_px(face.five_points),
    )


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "out")))
