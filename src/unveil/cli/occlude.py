"""`unveil occlude`: write a data set under synthetic occluders, with its names and .pts files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import tyro

from unveil.cli.images import check_writable
from unveil.cli.progress import progress_bars

if TYPE_CHECKING:  # --help must not wait for OpenCV
    from unveil.data.datasets.registry import DataSet
    from unveil.data.occlusion import Library

Kind: TypeAlias = Literal[
    "noise",
    "polygon",
    "mask",
    "template",
    "sunglasses",
    "sprite",
    "flat",
    "hair",
    "haircut",
    "hat",
    "hood",
    "scarf",
    "beard",
    "glasses",
    "hand",
    "held",
]


@dataclass(frozen=True)
class Options:
    """Write every face of a data set under one kind of occluder. The same seed gives the same images."""

    dataset: Annotated[Literal["300w", "folder"], tyro.conf.Positional]
    """300w: the official release; folder: any folder of images with .pts files beside them."""
    root: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """The folder of the data set."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """The folder to write to."""
    kind: Kind | None = None
    """The kind of occluder."""
    sheet: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Instead of a data set, write a contact sheet: a row of faces for each kind, or for --kind alone. Landmarks that
    are occluded are red."""
    split: str = "common"
    """Faces of 300w: train, common, challenging or full."""
    library: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of RGBA images, for template, sprite, hand and haircut; templates are in masks/ with anchors.json."""
    templates: tuple[str, ...] = ()
    """Use only templates whose name begins with one of these."""
    coverage: float | None = None
    """Fraction of the face to cover, 0 to 1, for noise, polygon and sprite."""
    seed: int = 0
    """Seed of the occluders."""
    partial: tyro.conf.FlagCreatePairsOff[bool] = False
    """Accept a set with fewer faces than the official one."""


def run(options: Options) -> int:
    """Write the data set and return the exit status."""
    from unveil.data.datasets.registry import folder, read_data_set
    from unveil.data.occluded_set import occlude_data_set
    from unveil.data.occlusion import OcclusionSampler
    from unveil.evaluation import check_coverage

    if (options.sheet is None) == (options.out is None or options.kind is None):
        raise ValueError("give --out and --kind for a data set, or --sheet for a contact sheet")
    if options.sheet is not None:
        check_writable(options.sheet.parent, "--sheet")
    if options.out is not None:
        check_writable(options.out)
    if options.seed < 0:
        raise ValueError(f"--seed {options.seed}: give 0 or more")
    if options.dataset == "folder":
        faces = folder(options.root)
    else:
        faces = read_data_set(f"{options.dataset}/{options.split}", options.root, partial=options.partial)
    if options.sheet is not None:
        return _write_sheet(options, faces)
    assert options.kind is not None
    assert options.out is not None
    library = read_library(options.kind, options.library, options.templates)
    coverages = check_coverage(options.kind, () if options.coverage is None else (options.coverage,))
    sampler = OcclusionSampler.of_kind(options.kind, library, *coverages)
    with progress_bars() as bar:
        count = occlude_data_set(
            faces,
            options.root,
            options.out,
            sampler,
            seed=options.seed,
            progress=bar(f"occluding {faces.label}"),
        )
    print(f"{faces.label}: {count} faces under {options.kind} in {options.out}")
    return 0


def _write_sheet(options: Options, faces: "DataSet") -> int:
    from unveil.data.occlusion import KINDS, Library
    from unveil.data.occlusion.sheet import contact_sheet
    from unveil.io.images import write_png

    assert options.sheet is not None
    kinds = KINDS if options.kind is None else (options.kind,)
    sheet, left_out = contact_sheet(faces, kinds, Library.read(options.library).only(options.templates), options.seed)
    write_png(options.sheet, sheet)
    without = f"; without {', '.join(left_out)}, which need a --library" if left_out else ""
    print(f"{options.sheet}: {len(kinds) - len(left_out)} kinds{without}")
    return 0


def read_library(kind: str | None, folder: Path | None, templates: Sequence[str]) -> "Library":
    """Return the images of a kind of occluder.

    Args:
        kind: The kind.
        folder: The library's folder.
        templates: Beginnings of the names of the templates to use.

    Raises:
        ValueError: The kind does not use images, or not templates.
    """
    from unveil.data.occlusion import Library

    if folder is not None and kind not in (with_images := ("template", "sprite", "hand", "haircut")):
        raise ValueError(f"--library {folder}: is for {', '.join(with_images)}, not for {kind}; leave it out")
    if templates and kind != "template":
        raise ValueError(f"--templates {' '.join(templates)}: is for template, not for {kind}; leave it out")
    return Library.read(folder).only(templates)
