"""`unveil prepare SET`: pack the faces of a data set into one file for training."""

import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING

import tyro

from unveil.cli.images import check_writable
from unveil.cli.prepare_detection import Detection, write_detection
from unveil.cli.prepare_options import (
    SETS,
    CelebaMaskHq,
    Cofw29,
    Folder,
    Ocfw,
    OcfwList,
    Options,
    PackOptions,
    Portraits,
    ThreeHundredW,
    Wflw,
)
from unveil.cli.progress import Bar, progress_bars

if TYPE_CHECKING:
    from unveil.data.datasets.samples import DataSet
    from unveil.types import Face, Image


def _summary(options: type[object]) -> str:
    """Return the first clause of a set's description."""
    return (options.__doc__ or "").partition(". ")[0].partition(": ")[0].strip().rstrip(".")


def parse(arguments: Sequence[str]) -> Options:
    """Read the command line: the name of a set, then its options. Exits as tyro does."""
    names = ", ".join(SETS)
    if not arguments or arguments[0] in ("-h", "--help"):
        lines = [f"  {name:<15}{_summary(options)}" for name, options in SETS.items()]
        print("\n".join(["usage: unveil prepare SET --root DIR --out FILE ...", "", *lines, ""]))
        print("unveil prepare SET --help lists its options")
        raise SystemExit(0 if arguments else 2)
    name, *rest = arguments
    if name not in SETS:
        near = get_close_matches(name, SETS, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {names}"
        raise ValueError(f"unknown set {name!r}: {hint}")
    return tyro.cli(SETS[name], prog=f"unveil prepare {name}", args=rest)


def run(options: Options) -> int:
    """Prepare the set; 0 done, 2 nothing was written."""
    with progress_bars() as bar:
        summary = _prepare(options, bar)
    print(summary)
    return 0


def _prepare(options: Options, bar: Bar) -> str:
    """Write what was asked for and return a line that describes it."""
    if options.side < 1:
        raise ValueError(f"--side {options.side}: give 1 pixel or more")
    if isinstance(options, CelebaMaskHq):
        check_writable(options.out)
        return _celebamask_hq(options, bar)
    if options.out.is_dir():
        raise ValueError(f"--out {options.out}: a folder; name the file to write")
    check_writable(options.out.parent)
    if isinstance(options, OcfwList):
        return _ocfw_list(options, bar)
    if isinstance(options, Detection):
        return write_detection(options, bar("labelling photographs"))
    if isinstance(options, Portraits):
        return _portraits(options, bar)
    faces, problems = _faces(options)
    if problems and options.on_error == "stop":
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise ValueError(f"{problems[0]}{more}; fix them, or leave them out with --on-error skip")
    return _pack(faces, options, bar, problems)


def _faces(options: ThreeHundredW | Wflw | Cofw29 | Ocfw | Folder) -> "tuple[DataSet, tuple[str, ...]]":
    """Return the faces to pack, and one line for each annotation that cannot be used."""
    from unveil.data.datasets.annotated import annotated_faces
    from unveil.data.datasets.ocfw import faces_of_kind
    from unveil.data.datasets.registry import read_data_set
    from unveil.schemes.scheme_file import load_scheme

    match options:
        case Folder():
            scheme = None if options.scheme is None else load_scheme(options.scheme)
            return annotated_faces(options.root, options.annotations, scheme)
        case Ocfw():
            return _ocfw(options), ()
        case ThreeHundredW():
            faces = read_data_set(f"300w/{options.split}", options.root, partial=options.partial)
            return (faces if options.list is None else faces_of_kind("clean", faces, options.list)), ()
        case Wflw():
            return read_data_set(f"wflw/{options.split}", options.root, partial=options.partial), ()
        case Cofw29():
            return read_data_set(f"cofw29/{options.split}", options.root, partial=options.partial), ()


def _ocfw(options: Ocfw) -> "DataSet":
    from unveil.data.datasets.ocfw import faces_of_300w, faces_of_kind, is_kind_list
    from unveil.data.datasets.registry import read_data_set
    from unveil.data.datasets.samples import DataSet
    from unveil.schemes.scheme import IBUG68

    if options.list is None:
        fix = "name OCFW's list of image paths, or make one with `unveil prepare ocfw-list`"
        raise ValueError(f"--list is missing; {fix}")
    if is_kind_list(options.list):
        faces = DataSet("ocfw", faces_of_300w(options.root, partial=options.partial), IBUG68)
        return faces_of_kind(options.kind, faces, options.list)
    return read_data_set(f"ocfw/{options.list}", options.root, partial=options.partial)


def _pack(faces: "DataSet", options: PackOptions, bar: Bar, problems: Sequence[str] = ()) -> str:
    from unveil.data.pack import write_pack

    packed = write_pack(
        faces,
        options.out,
        options.side,
        options.quality,
        bar(f"packing {faces.label}"),
        on_error=options.on_error,
    )
    left_out = (*problems, *packed.skipped)
    for problem in left_out:
        print(f"warning: left out: {problem}", file=sys.stderr)
    count = f"; left out: {len(left_out)}" if left_out else ""
    return f"{packed.label}: {packed.faces} faces, {packed.bytes / 2**20:.1f} MiB in {packed.path}{count}"


def _celebamask_hq(options: CelebaMaskHq, bar: Bar) -> str:
    from unveil.data.datasets.portraits import prepare_celebamask_hq

    images = prepare_celebamask_hq(
        options.root,
        options.out,
        size=options.side,
        quality=options.quality,
        partial=options.partial,
        progress=bar(f"shrinking {options.root.name}"),
    )
    return f"celebamask-hq: {images} images of {options.side} px in {options.out}"


def _portraits(options: Portraits, bar: Bar) -> str:
    from unveil.data.datasets.portraits import prepare_portraits

    prepared = prepare_portraits(
        options.root,
        options.out,
        _largest_face(options),
        size=options.side,
        inside=options.inside,
        visible=options.visible,
        occluded_parts=options.occluded_parts,
        quality=options.quality,
        progress=bar("predicting landmarks"),
        packing=bar("packing"),
    )
    packed = prepared.packed
    reasons = (
        *((prepared.unreadable, "unreadable"), (prepared.no_face, "no face")),
        *((prepared.cut_off, "face cut off"), (prepared.occluded, "occluded")),
    )
    left_out = ", ".join(f"{len(names)} {reason}" for names, reason in reasons)
    size = f"{packed.bytes / 2**20:.1f} MiB in {packed.path}"
    return f"{packed.label}: {packed.faces} faces, {size}; left out: {left_out}"


def _ocfw_list(options: OcfwList, bar: Bar) -> str:
    """Write the list and, beside it, sheets of the faces that it does not call clean, each with its line's number."""
    from unveil.data.datasets.ocfw import KINDS, faces_of_300w, rank_by_coverage, write_list
    from unveil.inference.aligner import AlignmentModel
    from unveil.inference.covered import contact_sheets, coverage_fn, thumbnail
    from unveil.inference.restorer import Restorer
    from unveil.io.images import write_png

    restorer = None if options.restorer is None else Restorer.load(options.restorer)
    faces = faces_of_300w(options.root, partial=options.partial)
    coverage = coverage_fn(AlignmentModel.load(options.model), restorer)
    label = f"estimating {len(faces)} faces"
    entries = rank_by_coverage(faces, coverage, occluded=options.occluded, clean=options.clean, progress=bar(label))
    write_list(options.out, entries)
    samples, drawing = {sample.name: sample for sample in faces}, bar("drawing sheets")
    tiles: dict[str, list[tuple[str, Image]]] = {"occluded": [], "unsure": []}
    doubtful = [(line, entry) for line, entry in enumerate(entries, start=2) if entry.kind in tiles]
    for done, (line, entry) in enumerate(doubtful, start=1):
        sample = samples[entry.name]
        image = thumbnail(sample.load(), sample.points_px, options.side)
        tiles[entry.kind].append((f"line {line}: {entry.coverage.total:.3f}", image))
        drawing(done, len(doubtful))
    for kind, drawn in tiles.items():
        for number, sheet in enumerate(contact_sheets(drawn), start=1):
            write_png(options.out.with_name(f"{options.out.stem}-{kind}-{number}.png"), sheet)
    counts = ", ".join(f"{sum(entry.kind == kind for entry in entries)} {kind}" for kind in KINDS)
    return f"{options.out}: {len(faces)} faces of 300w, {counts}"


def _largest_face(options: Portraits) -> "Callable[[Image], Face | None]":
    """Return a function that aligns the largest face of a portrait."""
    from unveil.inference.pipeline import Pipeline
    from unveil.schemes.scheme import IBUG68

    pipeline = Pipeline(options.model, options.detector, detector_model=options.detector_model)
    if pipeline.model.scheme != IBUG68:
        has = f"has scheme {pipeline.model.scheme.name!r}"
        raise ValueError(f"--model {options.model}: {has}, but portraits are packed with 68 points; use one of ibug68")
    if "visibility" not in pipeline.model.config.outputs:
        raise ValueError(f"--model {options.model}: predicts no visibility, which --visible needs; use glomface-light")

    def largest(image_rgb: "Image") -> "Face | None":
        faces = pipeline(image_rgb, flip_average=options.flip_average)
        return max(faces, key=lambda face: (face.box.x1 - face.box.x0) * (face.box.y1 - face.box.y0), default=None)

    return largest
