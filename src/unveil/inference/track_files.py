"""What `unveil track` writes, frame by frame, so that hours need no more memory than seconds. L landmarks."""

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal, TypeAlias

import cv2
import numpy as np

from unveil.inference.drawing import LINE_COLOUR, OCCLUDED_COLOUR, OUTLINE_COLOUR, VISIBLE_COLOUR, draw_faces
from unveil.inference.tracking import TrackedFace
from unveil.io.results import face_json
from unveil.io.video import Frame, kept, video_file
from unveil.schemes.scheme import Scheme
from unveil.types import Image

Save: TypeAlias = Literal["video", "json", "csv"]
AddFrame: TypeAlias = Callable[[Frame, Sequence[TrackedFace]], None]
LABEL_HEIGHT = 0.09  # of a face's box


def track_paths(out: Path, save: Sequence[Save]) -> dict[Save, Path]:
    """Where each of the files goes: `out` itself is the video, or would be, and the others lie beside it."""
    paths: dict[Save, Path] = {"video": out, "json": out.with_suffix(".jsonl"), "csv": out.with_suffix(".csv")}
    return {kind: paths[kind] for kind in paths if kind in save}


@contextmanager
def track_files(paths: dict[Save, Path], fps: float, scheme: Scheme) -> Iterator[AddFrame]:
    """Files that appear under their names when the block ends, well or not; gives what adds a frame to them.

    A frame's line and rows are on the disk before the next frame comes.
    """
    openers = {"video": _overlays, "json": _lines, "csv": _rows}
    with ExitStack() as stack:
        adders = [stack.enter_context(openers[kind](path, fps, scheme)) for kind, path in paths.items()]

        def add(frame: Frame, faces: Sequence[TrackedFace]) -> None:
            for add_to in adders:
                add_to(frame, faces)

        yield add


@contextmanager
def _overlays(path: Path, fps: float, scheme: Scheme) -> Iterator[AddFrame]:
    with video_file(path, fps) as write:
        yield lambda frame, faces: write(draw_tracks(frame.image_rgb, faces, scheme), frame.time_s)


@contextmanager
def _lines(path: Path, _fps: float, _scheme: Scheme) -> Iterator[AddFrame]:
    with kept(path) as temporary, temporary.open("w", buffering=1, encoding="utf-8") as file:

        def add(frame: Frame, faces: Sequence[TrackedFace]) -> None:
            file.write(json.dumps(frame_json(frame, faces), allow_nan=False) + "\n")

        yield add


@contextmanager
def _rows(path: Path, _fps: float, scheme: Scheme) -> Iterator[AddFrame]:
    per_point = [f"{name}{i}" for i in range(scheme.points) for name in ("x", "y", "visibility", "uncertainty")]
    header = ["frame", "time_s", "id", "state", "score", "box_x0", "box_y0", "box_x1", "box_y1", "yaw", "pitch", "roll"]
    with kept(path) as temporary, temporary.open("w", buffering=1, newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow([*header, *per_point])
        unsaid = [""] * scheme.points

        def add(frame: Frame, faces: Sequence[TrackedFace]) -> None:
            for entry in frame_json(frame, faces)["faces"]:
                pose = entry["pose"].values() if entry["pose"] else ["", "", ""]
                sure = (entry["visibility"] or unsaid, entry["uncertainty"] or unsaid)
                points = zip(entry["landmarks"], *sure, strict=True)
                numbers = [number for (x, y), seen, unsure in points for number in (x, y, seen, unsure)]
                first = [frame.index, round(frame.time_s, 4), entry["id"], entry["state"], entry["score"]]
                table.writerow([*first, *entry["box"], *pose, *numbers])

        yield add


def frame_json(frame: Frame, faces: Sequence[TrackedFace]) -> dict[str, Any]:
    """One line of the JSON Lines file: a frame, and its faces as `unveil align` writes them, with id and state."""
    entries = [{"id": tracked.id, "state": tracked.state, **face_json(tracked.face)} for tracked in faces]
    return {"frame": frame.index, "time_s": round(frame.time_s, 4), "faces": entries}


def draw_tracks(image_rgb: Image, faces: Sequence[TrackedFace], scheme: Scheme) -> Image:
    """A copy of the frame with its faces and their ids; of a covered face where it was last, of a lost one nothing."""
    shown = [tracked for tracked in faces if tracked.state != "lost"]
    canvas = draw_faces(image_rgb, [tracked.face for tracked in shown], scheme)
    for tracked in shown:
        box = tracked.face.box
        scale = max(0.4, LABEL_HEIGHT * (box.y1 - box.y0) / 22)  # OpenCV's capitals are 22 pixels high
        text = str(tracked.id) if tracked.state == "tracked" else f"{tracked.id} {tracked.state}"
        place = (round(box.x0), round(box.y0 - 8 * scale))
        colour = VISIBLE_COLOUR if tracked.state == "tracked" else OCCLUDED_COLOUR
        for ink, width in ((OUTLINE_COLOUR, 4), (LINE_COLOUR, 2), (colour, 1)):
            cv2.putText(
                canvas, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, ink, max(1, round(width * scale)), cv2.LINE_AA
            )
    return np.asarray(canvas, np.uint8)
