"""`unveil restore`: images in, the same images with restored faces out."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from unveil.cli.images import ImageOptions, ProcessImage, load_pipeline, run_over_images

if TYPE_CHECKING:  # --help should not wait for OpenCV and onnxruntime
    from unveil.io.image_sources import Source
    from unveil.types import Box, Image


@dataclass(frozen=True)
class Options(ImageOptions):
    """Remove what occludes faces, and paint what may be behind it.

    What is painted is a guess that fits the rest of the face. It is not the person's own face, and the PNG files say so
    in a text chunk. Pixels outside the mask do not change. Writes the files of --save below --out, with the tree of a
    folder or glob. Exit status: 0 success, 1 some images failed, 2 nothing could be done, 130 interrupted. An image
    without a face, or without an occluded one, is written as it was read, in RGB of 8 bits; that is not a failure.
    """

    save: tuple[Literal["restored", "mask", "overlay", "comparison"], ...] = ("restored", "comparison")
    """restored: the image; mask: white where it was painted; overlay: the restored image with its landmarks;
    comparison: before, mask and after side by side. All files are PNG."""
    restorer: Annotated[str, tyro.conf.arg(metavar="NAME|PATH")] = "gan-ia-light"
    """Name of a shipped restorer, a folder with model.onnx and config.json, or a folder of seven such folders, one for
    each component."""


def run(options: Options) -> int:
    """Restore every image; each failure is one line on stderr."""
    return run_over_images(options, "restoring", partial(_opened, options))


@contextmanager
def _opened(options: Options) -> Iterator[ProcessImage]:
    from unveil.cli.outputs import restore_writers
    from unveil.io.files import atomic_write_all

    pipeline = load_pipeline(options, options.restorer, detect=options.boxes is None)
    scheme = pipeline.model.scheme

    def restore(source: "Source", image_rgb: "Image", boxes: "list[Box] | None") -> int:
        restored = pipeline.restore(image_rgb, boxes, flip_average=options.flip_average)
        base = options.out / source.output
        atomic_write_all(restore_writers(base, image_rgb, restored, scheme, options.save))
        return len(restored.before)

    yield restore
