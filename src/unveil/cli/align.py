"""`unveil align`: pictures in, landmarks out."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from unveil.cli.pictures import PictureOptions, Work, load_pipeline, run_over_pictures

if TYPE_CHECKING:  # --help should not wait for OpenCV and onnxruntime
    from unveil.io.video_sources import Source
    from unveil.types import Box, Image


@dataclass(frozen=True)
class Options(PictureOptions):
    """Finds faces, their landmarks, and which of these are visible.

    Writes what --save names below --out, mirroring the tree of a folder or glob. Status: 0 all well, 1 some pictures
    failed, 2 nothing could be done, 130 interrupted. A picture without a face is not a failure.
    """

    save: tuple[Literal["json", "pts", "csv", "overlay", "aligned"], ...] = ("json", "overlay")
    """json: one file an image; pts: iBUG's, one a face; csv: faces.csv, one row a face; overlay: the picture with its
    landmarks; aligned: the faces upright at 112 and 256 px."""


def run(options: Options) -> int:
    """Aligns every source and says on stderr, one line each, what could not be done."""
    return run_over_pictures(options, "aligning", partial(_opened, options))


@contextmanager
def _opened(options: Options) -> Iterator[Work]:
    from unveil.io.results import (
        CSV_NAME,
        check_save,
        csv_table,
        picture_json,
        picture_writers,
        write_together,
    )

    pipeline = load_pipeline(options)
    scheme = pipeline.model.scheme
    check_save(options.save, scheme)
    table = csv_table(options.out / CSV_NAME, scheme.points) if "csv" in options.save else nullcontext()
    with table as add_rows:

        def align(source: "Source", image_rgb: "Image", boxes: "list[Box] | None") -> int:
            faces = pipeline(image_rgb, boxes)
            text = picture_json(str(source.path), image_rgb, pipeline.model.config.name, scheme.name, faces)
            base = options.out / source.output
            write_together(picture_writers(base, image_rgb, text, faces, scheme, options.save))
            if add_rows:
                add_rows(str(source.path), faces)
            return len(faces)

        yield align
