"""The files that `unveil track` writes, frame by frame, so that memory does not grow with the length. L landmarks."""

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
from unveil.io.video import Frame
from unveil.io.video_writer import keep_partial, write_video
from unveil.schemes.scheme import Scheme
from unveil.types import Image

Save: TypeAlias = Literal["video", "json", "csv"]
AddFrame: TypeAlias = Callable[[Frame, Sequence[TrackedFace]], None]
LABEL_HEIGHT = 0.09  # in heights of the face's box
CAPITAL_PX = 22  # height of OpenCV's capital letters at scale 1


def track_paths(video: Path, save: Sequence[Save]) -> dict[Save, Path]:
    """Return the path of each file.

    Args:
        video: The video. The other files have its name and another suffix.
        save: Kinds of files.

    Returns:
        The paths by kind.
    """
    paths: dict[Save, Path] = {"video": video, "json": video.with_suffix(".jsonl"), "csv": video.with_suffix(".csv")}
    return {kind: paths[kind] for kind in paths if kind in save}


@contextmanager
def track_files(
    paths: dict[Save, Path], fps: float, scheme: Scheme, sound_from: Path | None = None
) -> Iterator[AddFrame]:
    """Write the files of one video. They appear under their names when the block ends, with or without an error.

    The lines and rows of a frame are on the disk before the next frame is read.

    Args:
        paths: Paths by kind.
        fps: Frame rate of the video.
        scheme: Scheme of the landmarks.
        sound_from: A video file whose sound the written video gets, if PyAV is installed.

    Yields:
        A function that adds a frame and its faces.
    """
    openers: dict[Save, Callable[[Path], Any]] = {
        "video": lambda path: _video(path, fps, scheme, sound_from),
        "json": _json_lines,
        "csv": lambda path: _csv_rows(path, scheme),
    }
    with ExitStack() as stack:
        adders = [stack.enter_context(openers[kind](path)) for kind, path in paths.items()]

        def add(frame: Frame, faces: Sequence[TrackedFace]) -> None:
            for add_to in adders:
                add_to(frame, faces)

        yield add


@contextmanager
def _video(path: Path, fps: float, scheme: Scheme, sound_from: Path | None) -> Iterator[AddFrame]:
    with write_video(path, fps, sound_from) as write:
        yield lambda frame, faces: write(draw_tracks(frame.image_rgb, faces, scheme), frame.time_s)


@contextmanager
def _json_lines(path: Path) -> Iterator[AddFrame]:
    with keep_partial(path) as temporary, temporary.open("w", buffering=1, encoding="utf-8") as file:

        def add(frame: Frame, faces: Sequence[TrackedFace]) -> None:
            file.write(json.dumps(frame_json(frame, faces), allow_nan=False) + "\n")

        yield add


@contextmanager
def _csv_rows(path: Path, scheme: Scheme) -> Iterator[AddFrame]:
    per_point = [f"{name}{i}" for i in range(scheme.points) for name in ("x", "y", "visibility", "uncertainty")]
    header = ["frame", "time_s", "id", "state", "score", "box_x0", "box_y0", "box_x1", "box_y1", "yaw", "pitch", "roll"]
    with keep_partial(path) as temporary, temporary.open("w", buffering=1, newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow([*header, *per_point])
        absent = [""] * scheme.points

        def add(frame: Frame, faces: Sequence[TrackedFace]) -> None:
            for entry in frame_json(frame, faces)["faces"]:
                pose = entry["pose"].values() if entry["pose"] else ["", "", ""]
                optional = (entry["visibility"] or absent, entry["uncertainty"] or absent)
                points = zip(entry["landmarks"], *optional, strict=True)
                numbers = [number for (x, y), *others in points for number in (x, y, *others)]
                first = [frame.index, round(frame.time_s, 4), entry["id"], entry["state"], entry["score"]]
                table.writerow([*first, *entry["box"], *pose, *numbers])

        yield add


def frame_json(frame: Frame, faces: Sequence[TrackedFace]) -> dict[str, Any]:
    """Return one line of the JSON Lines file.

    Args:
        frame: The frame.
        faces: Its faces.

    Returns:
        `frame`, `time_s` and `faces`: the entries of `unveil align`, with `id` and `state`.
    """
    entries = [{"id": tracked.id, "state": tracked.state, **face_json(tracked.face)} for tracked in faces]
    return {"frame": frame.index, "time_s": round(frame.time_s, 4), "faces": entries}


def draw_tracks(image_rgb: Image, faces: Sequence[TrackedFace], scheme: Scheme) -> Image:
    """Draw the faces of a frame with their ids.

    Args:
        image_rgb: RGB frame (H, W, 3).
        faces: Its faces. A covered face is drawn where it was last, a lost one is not drawn.
        scheme: Scheme of the landmarks.

    Returns:
        A copy of the frame with the drawing.
    """
    shown = [tracked for tracked in faces if tracked.state != "lost"]
    canvas = draw_faces(image_rgb, [tracked.face for tracked in shown], scheme)
    for tracked in shown:
        box = tracked.face.box
        scale = max(0.4, LABEL_HEIGHT * (box.y1 - box.y0) / CAPITAL_PX)
        text = str(tracked.id) if tracked.state == "tracked" else f"{tracked.id} {tracked.state}"
        place = (round(box.x0), round(box.y0 - 8 * scale))
        colour = VISIBLE_COLOUR if tracked.state == "tracked" else OCCLUDED_COLOUR
        for ink, width in ((OUTLINE_COLOUR, 4), (LINE_COLOUR, 2), (colour, 1)):
            cv2.putText(
                canvas, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, ink, max(1, round(width * scale)), cv2.LINE_AA
            )
    return np.asarray(canvas, np.uint8)
