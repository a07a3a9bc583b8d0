"""`unveil prepare`: a data set cut out and laid into one file, so that training is not bound by decoding."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro


@dataclass(frozen=True)
class Options:
    """Cuts every face out once and packs the cut-outs into one file for `unveil train --data FILE`."""

    dataset: Annotated[Literal["300w", "folder"], tyro.conf.Positional]
    """300w: the official release; folder: any folder of pictures with .pts files beside them."""
    root: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Where the data set lies."""
    out: Annotated[Path, tyro.conf.arg(metavar="FILE")]
    """The pack to write; it is written whole or not at all."""
    split: str = "train"
    """Which faces of 300w: train, common, challenging or full."""
    partial: tyro.conf.FlagCreatePairsOff[bool] = False
    """Take a set that is shorter than the official one; every output then says found/expected."""
    side: int = 288
    """Pixels of a cut-out's side, which is twice the longer side of the face."""
    quality: int = 90
    """JPEG quality, 0 to 100."""
    scheme: Annotated[str | None, tyro.conf.arg(metavar="FILE|NAME")] = None
    """Of a folder that is not annotated in ibug68: its scheme file, or a built-in scheme. The pack carries it."""


def run(options: Options) -> int:
    from rich.console import Console
    from rich.progress import Progress

    from unveil.data.landmarks import folder, read_data_set
    from unveil.data.pack import write_pack
    from unveil.face.scheme_file import find_scheme

    try:
        if options.dataset == "folder":
            faces = folder(options.root, find_scheme(options.scheme or "ibug68"))
        elif options.scheme is not None:
            raise ValueError(f"--scheme {options.scheme}: {options.dataset} has its own; leave --scheme out")
        else:
            faces = read_data_set(f"{options.dataset}/{options.split}", options.root, partial=options.partial)
        with Progress(console=Console(stderr=True), transient=True) as progress:
            bar = progress.add_task(f"packing {faces.label}", total=None)
            packed = write_pack(
                faces,
                options.out,
                side=options.side,
                quality=options.quality,
                progress=lambda done, total: progress.update(bar, completed=done, total=total),
            )
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{packed.label}: {packed.faces} faces, {packed.bytes / 2**20:.1f} MiB in {packed.path}")
    return 0
