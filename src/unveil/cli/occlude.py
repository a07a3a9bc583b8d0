"""`unveil occlude`: write a data set under synthetic occluders, with its names and .pts files."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import tyro

from unveil.cli.images import check_writable
from unveil.cli.progress import error_message

if TYPE_CHECKING:  # --help must not wait for OpenCV
    from unveil.data.occlusion import Library

Kind: TypeAlias = Literal["noise", "polygon", "mask", "template", "sunglasses", "sprite", "flat"]


@dataclass(frozen=True)
class Options:
    """Write every face of a data set under one kind of occluder. The same seed gives the same images."""

    dataset: Annotated[Literal["300w", "folder"], tyro.conf.Positional]
    """300w: the official release; folder: any folder of images with .pts files beside them."""
    root: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """The folder of the data set."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """The folder to write to."""
    kind: Kind
    """The kind of occluder."""
    split: str = "common"
    """Faces of 300w: train, common, challenging or full."""
    library: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of RGBA images, for template and sprite; templates are in masks/ with anchors.json."""
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
    from rich.console import Console
    from rich.progress import Progress

    from unveil.data.datasets.registry import folder, read_data_set
    from unveil.data.occluded_set import occlude_data_set
    from unveil.data.occlusion import OcclusionSampler
    from unveil.evaluation import check_coverage

    try:
        check_writable(options.out)
        if options.seed < 0:
            raise ValueError(f"--seed {options.seed}: give 0 or more")
        if options.dataset == "folder":
            faces = folder(options.root)
        else:
            faces = read_data_set(f"{options.dataset}/{options.split}", options.root, partial=options.partial)
        library = read_library(options.kind, options.library, options.templates)
        coverages = check_coverage(options.kind, () if options.coverage is None else (options.coverage,))
        sampler = OcclusionSampler.of_kind(options.kind, library, *coverages)
        with Progress(console=Console(stderr=True), transient=True) as progress:
            bar = progress.add_task(f"occluding {faces.label}", total=None)
            count = occlude_data_set(
                faces,
                options.root,
                options.out,
                sampler,
                seed=options.seed,
                progress=lambda done, total: progress.update(bar, completed=done, total=total),
            )
    except (ValueError, OSError) as error:
        print(f"error: {error_message(error)}", file=sys.stderr)
        return 2
    print(f"{faces.label}: {count} faces under {options.kind} in {options.out}")
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

    if folder is not None and kind not in ("template", "sprite"):
        raise ValueError(f"--library {folder}: is for template and sprite, not for {kind}; leave it out")
    if templates and kind != "template":
        raise ValueError(f"--templates {' '.join(templates)}: is for template, not for {kind}; leave it out")
    return Library.read(folder).only(templates)
