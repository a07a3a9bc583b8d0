"""`unveil prepare-hair`: cut hair out of portraits and add it to a library of occluders."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from unveil.cli.images import check_writable
from unveil.cli.progress import Job, error_message


@dataclass(frozen=True)
class Options:
    """Cut hair out of portraits by GrabCut, for the occluder haircut.

    The whole head must be in the image. Portraits with too little hair, or hair of the skin's colour, are left out.
    """

    source: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE [SOURCE ...]")]
    """Portraits: images, quoted globs, or folders."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder of the hair, for example LIBRARY/hair."""
    model: Annotated[str, tyro.conf.arg(metavar="NAME|PATH")] = "glomface-light"
    """The landmark model."""


def run(options: Options) -> int:
    """Cut the hair and return the exit status."""
    from unveil import Pipeline
    from unveil.data.occlusion.haircut import cut_hair
    from unveil.data.occlusion.library import HairCutout, write_hair
    from unveil.io.image_sources import find_sources
    from unveil.io.images import read_image

    check_writable(options.out)
    sources = find_sources(options.source, options.out)
    pipeline = Pipeline(options.model)
    found: list[HairCutout] = []
    with Job(len(sources.images), "cutting hair") as job:
        for problem in sources.problems:
            job.fail(problem)
        for source in sources.images:
            try:
                image = read_image(source.path)
                faces = pipeline(image)
            except (ValueError, OSError) as error:
                job.fail(error_message(error))
                continue
            name = "-".join(source.output.parts)
            if len(faces) == 1 and (cutout := cut_hair(name, image, faces[0].landmarks)) is not None:
                found.append(cutout)
            job.succeed()
    if not found:
        print("error: no portrait has hair that can be cut out; give images of whole heads", file=sys.stderr)
        return 2
    write_hair(options.out, found)
    print(f"{options.out}: hair of {len(found)} of {len(sources.images)} images")
    return job.status
