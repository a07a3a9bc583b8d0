"""`unveil align`: find the landmarks of the faces in images."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from unveil.cli.images import ImageOptions, ProcessImage, load_pipeline, run_over_images

if TYPE_CHECKING:  # --help must not wait for OpenCV and onnxruntime
    from unveil.io.image_sources import Source
    from unveil.types import Box, Image


@dataclass(frozen=True)
class Options(ImageOptions):
    """Find faces, their landmarks, and which of the landmarks are visible.

    Writes the files that --save names below --out, in the folder structure of the sources. Exit status: 0 all images
    done, 1 some images failed, 2 nothing could be done, 130 interrupted. An image without a face is not a failure.
    """

    save: tuple[Literal["json", "pts", "csv", "coco", "dlib", "cvat", "label-studio", "overlay", "aligned"], ...] = (
        "json",
        "overlay",
    )
    """json: one file per image; pts: iBUG's format, one file per face; csv: faces.csv, one row per face; coco, dlib,
    cvat, label-studio: one file for that tool; overlay: the image with its landmarks drawn; aligned: each face
    upright, at 112 and 256 px."""


def run(options: Options) -> int:
    """Align every source, print one line on stderr for each image that failed, and return the exit status."""
    return run_over_images(options, "aligning", partial(_aligner, options))


@contextmanager
def _aligner(options: Options) -> Iterator[ProcessImage]:
    from unveil.cli.outputs import align_writers, check_outputs, shared_files
    from unveil.io.files import atomic_write_all
    from unveil.io.results import image_json

    pipeline = load_pipeline(options, detect=options.boxes is None)
    scheme, model = pipeline.model.scheme, pipeline.model.config.name
    check_outputs(options.save, scheme)
    with shared_files(options.out, scheme, model, options.save) as add_image:

        def align(source: "Source", image_rgb: "Image", boxes: "list[Box] | None") -> int:
            faces = pipeline(image_rgb, boxes, flip_average=options.flip_average)
            text = image_json(str(source.path), image_rgb, model, scheme.name, faces)
            base = options.out / source.output
            atomic_write_all(align_writers(base, image_rgb, text, faces, scheme, options.save))
            add_image(source, image_rgb, faces)
            return len(faces)

        yield align
