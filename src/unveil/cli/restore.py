"""`unveil restore`: pictures in, the same with faces that nothing covers out."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from unveil.cli.pictures import PictureOptions, Work, load_pipeline, run_over_pictures

if TYPE_CHECKING:  # --help should not wait for OpenCV and onnxruntime
    from unveil.io.video_sources import Source
    from unveil.types import Box, Image


@dataclass(frozen=True)
class Options(PictureOptions):
    """Takes away what covers faces, and paints what may be behind it.

    What is painted is a guess that fits the rest of the face, not the person's own. No pixel outside the mask changes.
    Writes what --save names below --out, mirroring the tree of a folder or glob. Status: 0 all well, 1 some pictures
    failed, 2 nothing could be done, 130 interrupted. A picture without a face, or without anything in front of its
    faces, comes out as it was read, in RGB of 8 bits, and is not a failure.
    """

    save: tuple[Literal["restored", "mask", "overlay", "comparison"], ...] = ("restored", "comparison")
    """restored: the picture; mask: white where it was painted; overlay: the restored picture with its landmarks;
    comparison: before, mask and after side by side. All of them PNG."""
    restorer: Annotated[str, tyro.conf.arg(metavar="NAME|PATH")] = "gan-ia-light"
    """A restorer that ships with unveil, or a folder with model.onnx and config.json."""


def run(options: Options) -> int:
    """Restores every source and says on stderr, one line each, what could not be done."""
    return run_over_pictures(options, "restoring", partial(_opened, options))


@contextmanager
def _opened(options: Options) -> Iterator[Work]:
    from unveil.io.results import restoration_writers, write_together

    pipeline = load_pipeline(options, options.restorer)
    scheme = pipeline.model.scheme

    def restore(source: "Source", image_rgb: "Image", boxes: "list[Box] | None") -> int:
        restored = pipeline.restore(image_rgb, boxes)
        base = options.out / source.output
        write_together(restoration_writers(base, image_rgb, restored, scheme, options.save))
        return len(restored.before)

    yield restore
