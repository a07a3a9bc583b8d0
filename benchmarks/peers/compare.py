"""Compare other packages with models of unveil on the same faces, boxes and cores, without and with occluders.

python -m benchmarks.peers.install
python -m benchmarks.peers.compare --root DIR --library LIBRARY --json peers.json
"""

import json
import platform
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from benchmarks.peers.faces import write_images
from benchmarks.peers.figures import CLEAN, Row, compute_metrics, markdown
from benchmarks.peers.jobs import Face, RunnerResult
from benchmarks.peers.peers import PACKAGES, Package, PackageError, unveil_package
from numpy.typing import NDArray

from unveil.data.datasets.registry import DataSet, three_hundred_w
from unveil.data.occlusion import TEST_TEMPLATES, Library, Occluder, occluder
from unveil.evaluation import file_name
from unveil.evaluation.provenance import code_version
from unveil.geometry import tight_box
from unveil.io.files import write_file


@dataclass(frozen=True)
class Options:
    """Evaluate other packages and models of unveil on the same test faces, clean and masked, and print one table."""

    root: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """The folder of 300W in its official layout."""
    split: str = "common"
    """The test subset: common, challenging or full."""
    partial: tyro.conf.FlagCreatePairsOff[bool] = False
    """Accept a release with fewer faces than the official one."""
    limit: int | None = None
    """Maximum number of faces, sampled evenly from the subset."""
    models: tuple[str, ...] = ("glomface-light",)
    """Models of unveil: names of shipped models, or folders with model.onnx and config.json."""
    peers: tuple[str, ...] = tuple(PACKAGES)
    """The other packages."""
    masked: tuple[str, ...] = TEST_TEMPLATES
    """Kinds of masks: prefixes of the template names."""
    library: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """The folder of occluders, with the templates in masks/. Without it, no face is occluded."""
    threads: tuple[int, ...] = (1, 2)
    """Numbers of threads. The first is used for all metrics; the others only for the time on clean faces."""
    seed: int = 0
    """Seed of the masks, the same as in `unveil evaluate --occlude template --templates KIND`."""
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Write all metrics, versions and times to this file."""
    save: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Write the predictions to DIR/PACKAGE/CONDITION.json, in the format of `unveil evaluate --predictions`."""


def main() -> int:
    """Run the comparison.

    Returns:
        The exit status: 0, 1 if a package could not run, or 2 if an option is wrong or no package could run.
    """
    options = tyro.cli(Options, description=Options.__doc__)
    try:
        faces = _faces(options)
        conditions = _conditions(options)
        packages = {**_own_models(options.models), **_other_packages(options)}
        if not options.threads or min(options.threads) < 1:
            raise ValueError(
                f"--threads {' '.join(map(str, options.threads)) or '(empty)'}: give one or more numbers of at least 1"
            )
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="unveil-peers-") as folder:
        images = {
            name: write_images(faces, Path(folder) / name, occlude, options.seed)
            for name, occlude in conditions.items()
        }
        rows = dict(_rows(packages, faces, images, options, Path(folder)))
    if not rows:
        return 2
    masks = f" and under {', '.join(options.masked)} masks (seed {options.seed})" if len(conditions) > 1 else ""
    print(f"{faces.label}, clean{masks}; boxes from the ground truth, adapted to each package; {_processor()}\n")
    print(markdown(list(rows.values())), end="")
    if options.json is not None:
        _write_json(options.json, _report(rows, faces, options))
    return 0 if len(rows) == len(packages) else 1


def _own_models(models: Sequence[str]) -> dict[str, Package]:
    """Return the models of unveil by file name; ValueError if two have the same name."""
    packages = {file_name(model): unveil_package(model) for model in models}
    if len(packages) < len(models):
        raise ValueError(f"--models {' '.join(models)}: two models have the same file name; rename a folder")
    return packages


def _faces(options: Options) -> DataSet:
    return three_hundred_w(options.root, options.split, options.partial).spaced(options.limit)


def _conditions(options: Options) -> dict[str, Occluder | None]:
    conditions: dict[str, Occluder | None] = {CLEAN: None}
    if options.library is not None:
        library = Library.read(options.library)
        conditions |= {kind: occluder("template", library.only((kind,))) for kind in options.masked}
    return conditions


def _other_packages(options: Options) -> dict[str, Package]:
    unknown = [name for name in options.peers if name not in PACKAGES]
    if unknown:
        raise ValueError(f"--peers {unknown[0]}: unknown package; choose from {', '.join(PACKAGES)}")
    return {name: PACKAGES[name] for name in options.peers}


def _rows(
    packages: Mapping[str, Package], faces: DataSet, images: Mapping[str, list[str]], options: Options, folder: Path
) -> Iterator[tuple[str, Row]]:
    """Yield the row of each package; print an error for a package that cannot run."""
    for name, package in packages.items():
        print(f"{package.title} ...", file=sys.stderr, flush=True)
        job = [
            Face(f"{condition}/{sample.name}", path, package.box_of(tight_box(sample.points_px)))
            for condition, paths in images.items()
            for sample, path in zip(faces.samples, paths, strict=True)
        ]
        try:
            first, *others = options.threads
            result = package.predict(job, folder / f"run-{name}", first)
            timings = {first: result.timing}
            for count in others:
                timings[count] = package.predict(job[: len(faces)], folder / f"run-{name}-{count}", count).timing
            predictions = {condition: _of_condition(result, condition) for condition in images}
            rng = np.random.default_rng(options.seed)
            row = Row(package, timings, {kind: compute_metrics(predictions[kind], faces, rng) for kind in predictions})
        except (PackageError, ValueError, OSError) as error:
            print(f"error: {error}", file=sys.stderr)
            continue
        for condition, points_px in predictions.items():
            if options.save is not None:
                points = {face: values.tolist() for face, values in points_px.items()}
                _write_json(options.save / name / f"{condition}.json", points)
        yield name, row


def _of_condition(result: RunnerResult, condition: str) -> dict[str, NDArray[np.float64]]:
    """Return the predictions of one condition, by face name."""
    prefix = f"{condition}/"
    return {name.removeprefix(prefix): points for name, points in result.points_px.items() if name.startswith(prefix)}


def _report(rows: Mapping[str, Row], faces: DataSet, options: Options) -> dict[str, object]:
    """Return the content of the table, with boxes, versions and confidence intervals."""
    report: dict[str, object] = {"data": faces.label, "boxes": "gt", "seed": options.seed}
    report |= {"threads": options.threads[0], "processor": _processor(), "unveil": code_version()}
    for name, row in rows.items():
        box = None if row.package.square is None else asdict(row.package.square)
        by_condition = {condition: asdict(metrics) for condition, metrics in row.metrics.items()}
        description = {
            "title": row.package.title,
            "trained_on": row.package.trained_on,
            "box": box,
            "offset_px": row.package.offset_px,
        }
        report[name] = {
            **description,
            **asdict(row.timings[options.threads[0]]),
            "ms_per_face_by_threads": {count: timing.ms_per_face for count, timing in row.timings.items()},
            "conditions": by_condition,
        }
    return report


def _write_json(path: Path, content: object) -> None:
    write_file(path, (json.dumps(content, indent=1) + "\n").encode())


def _processor() -> str:
    """Return the name of the processor on Linux, and its architecture on other systems."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    sys.exit(main())
