"""`unveil occlude`: a data set on disk under synthetic occluders, names and .pts kept."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from unveil.cli.pictures import check_writable
from unveil.cli.progress import reason

if TYPE_CHECKING:
    from unveil.data.occlusion import Library


@dataclass(frozen=True)
class Options:
    """Writes every face of a data set under one kind of occluder; the same seed gives the same pictures."""

    dataset: Annotated[Literal["300w", "folder"], tyro.conf.Positional]
    """300w: the official release; folder: any folder of pictures with .pts files beside them."""
    root: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Where the data set lies."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Where the occluded one goes."""
    kind: Literal["noise", "polygon", "mask", "template", "sunglasses", "sprite", "flat"]
    """What covers the faces."""
    split: str = "common"
    """Which faces of 300w: train, common, challenging or full."""
    sprites: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """For template and sprite: a folder of RGBA pictures; templates lie in masks/ with anchors.json."""
    only: tuple[str, ...] = ()
    """Take templates only whose name begins with one of these."""
    share: float | None = None
    """The share of the face to cover, 0 to 1, for noise, polygon and sprite."""
    seed: int = 0
    """Where randomness starts."""
    partial: tyro.conf.FlagCreatePairsOff[bool] = False
    """Take a set that is shorter than the official one."""


def run(options: Options) -> int:
    from rich.console import Console
    from rich.progress import Progress

    from unveil.data.datasets.registry import folder, read_data_set
    from unveil.data.occluded_set import occlude_data_set
    from unveil.data.occlusion import occluder
    from unveil.evaluation import check_shares

    try:
        check_writable(options.out)
        if options.seed < 0:
            raise ValueError(f"--seed {options.seed}: give 0 or more")
        if options.dataset == "folder":
            faces = folder(options.root)
        else:
            faces = read_data_set(f"{options.dataset}/{options.split}", options.root, partial=options.partial)
        library = library_for(options.kind, options.sprites, options.only)
        shares = check_shares(options.kind, () if options.share is None else (options.share,))
        occlude = occluder(options.kind, library, *shares)
        with Progress(console=Console(stderr=True), transient=True) as progress:
            bar = progress.add_task(f"occluding {faces.label}", total=None)
            count = occlude_data_set(
                faces,
                options.root,
                options.out,
                occlude,
                seed=options.seed,
                progress=lambda done, total: progress.update(bar, completed=done, total=total),
            )
    except (ValueError, OSError) as error:
        print(f"error: {reason(error)}", file=sys.stderr)
        return 2
    print(f"{faces.label}: {count} faces under {options.kind} in {options.out}")
    return 0


def library_for(kind: str | None, pictures: Path | None, only: Sequence[str]) -> "Library":
    """The pictures that `kind` is drawn with; ValueError for pictures, or a choice of them, that it has no use for."""
    from unveil.data.occlusion import Library

    if pictures is not None and kind not in ("template", "sprite"):
        raise ValueError(f"--sprites {pictures}: goes with template and sprite, not with {kind}; leave it out")
    if only and kind != "template":
        raise ValueError(f"--only {' '.join(only)}: goes with template, not with {kind}; leave it out")
    if pictures is None:
        return Library()
    return Library.read(pictures).only(only)
