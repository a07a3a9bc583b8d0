"""Every peer and our models on the same faces, boxes and core, clean and masked: one command, one table.

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
from benchmarks.peers.figures import CLEAN, Row, markdown, measured
from benchmarks.peers.jobs import Answer, Face
from benchmarks.peers.peers import PEERS, Peer, PeerError, unveil_peer
from numpy.typing import NDArray

from unveil.data.datasets.registry import DataSet, three_hundred_w
from unveil.data.occlusion import TEST_TEMPLATES, Library, Occluder, occluder
from unveil.evaluation import file_name
from unveil.evaluation.provenance import code_version
from unveil.geometry import tight_box
from unveil.io.files import write_file


@dataclass(frozen=True)
class Options:
    """Measures every peer and our models on the same test faces, clean and under masks, and prints one table."""

    root: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """The folder of 300W, in its official layout."""
    split: str = "common"
    """Which faces: common, challenging or full."""
    partial: tyro.conf.FlagCreatePairsOff[bool] = False
    """Take a set that is shorter than the official one."""
    limit: int | None = None
    """At most so many faces, evenly from all."""
    models: tuple[str, ...] = ("glomface-light",)
    """Ours: shipped ones by name, or folders with model.onnx and config.json."""
    peers: tuple[str, ...] = tuple(PEERS)
    """Which of the others."""
    masked: tuple[str, ...] = TEST_TEMPLATES
    """Kinds of masks, by the beginning of the templates' names."""
    library: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of occluders with masks/ in it; without it only clean faces are measured."""
    threads: tuple[int, ...] = (1, 2)
    """Threads: the first number gives figures and time, each further one the time on the clean faces."""
    seed: int = 0
    """Seed of the masks, as of `unveil evaluate --occlude template --templates KIND`."""
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Write all figures, versions and times."""
    save: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Write the predictions, DIR/PEER/CONDITION.json, as `unveil evaluate --predictions` reads them."""


def main() -> int:
    options = tyro.cli(Options, description=Options.__doc__)
    try:
        faces = _faces(options)
        conditions = _conditions(options)
        peers = {**_ours(options.models), **_peers(options)}
        if not options.threads or min(options.threads) < 1:
            raise ValueError(f"--threads {' '.join(map(str, options.threads)) or 'nothing'}: give counts from 1 on")
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="unveil-peers-") as folder:
        images = {
            name: write_images(faces, Path(folder) / name, occlude, options.seed)
            for name, occlude in conditions.items()
        }
        rows = dict(_rows(peers, faces, images, options, Path(folder)))
    if not rows:
        return 2
    masks = f" and under {', '.join(options.masked)} masks (seed {options.seed})" if len(conditions) > 1 else ""
    print(f"{faces.label}, clean{masks}; the true landmarks' box, mapped for each; on {_processor()}\n")
    print(markdown(list(rows.values())), end="")
    if options.json is not None:
        _write(options.json, _report(rows, faces, options))
    return 0 if len(rows) == len(peers) else 1


def _ours(models: Sequence[str]) -> dict[str, Peer]:
    """Return our models by the name of their files; ValueError if two have one name."""
    named = {file_name(model): unveil_peer(model) for model in models}
    if len(named) < len(models):
        raise ValueError(f"--models {' '.join(models)}: two would be saved under one name; rename a folder")
    return named


def _faces(options: Options) -> DataSet:
    return three_hundred_w(options.root, options.split, options.partial).spaced(options.limit)


def _conditions(options: Options) -> dict[str, Occluder | None]:
    conditions: dict[str, Occluder | None] = {CLEAN: None}
    if options.library is not None:
        library = Library.read(options.library)
        conditions |= {kind: occluder("template", library.only((kind,))) for kind in options.masked}
    return conditions


def _peers(options: Options) -> dict[str, Peer]:
    unknown = [name for name in options.peers if name not in PEERS]
    if unknown:
        raise ValueError(f"no peer {unknown[0]!r}: there are {', '.join(PEERS)}")
    return {name: PEERS[name] for name in options.peers}


def _rows(
    peers: Mapping[str, Peer], faces: DataSet, images: Mapping[str, list[str]], options: Options, folder: Path
) -> Iterator[tuple[str, Row]]:
    """Yield each peer's row; a peer that cannot be run is one line on stderr."""
    for name, peer in peers.items():
        print(f"{peer.title} ...", file=sys.stderr, flush=True)
        job = [
            Face(f"{condition}/{sample.name}", path, peer.box_of(tight_box(sample.points_px)))
            for condition, paths in images.items()
            for sample, path in zip(faces.samples, paths, strict=True)
        ]
        try:
            first, *further = options.threads
            answer = peer.answer(job, folder / f"run-{name}", first)
            timings = {first: answer.timing}
            for count in further:
                timings[count] = peer.answer(job[: len(faces)], folder / f"run-{name}-{count}", count).timing
            found = {condition: _of(answer, condition) for condition in images}
            rng = np.random.default_rng(options.seed)
            row = Row(peer, timings, {kind: measured(found[kind], faces, rng) for kind in found})
        except (PeerError, ValueError, OSError) as error:
            print(f"error: {error}", file=sys.stderr)
            continue
        for condition, points_px in found.items():
            if options.save is not None:
                points = {face: values.tolist() for face, values in points_px.items()}
                _write(options.save / name / f"{condition}.json", points)
        yield name, row


def _of(answer: Answer, condition: str) -> dict[str, NDArray[np.float64]]:
    """Return the answers for the faces of one condition, by the faces' own names."""
    start = f"{condition}/"
    return {name.removeprefix(start): points for name, points in answer.points_px.items() if name.startswith(start)}


def _report(rows: Mapping[str, Row], faces: DataSet, options: Options) -> dict[str, object]:
    """Return everything in the table, with versions."""
    report: dict[str, object] = {"data": faces.label, "boxes": "gt", "seed": options.seed}
    report |= {"threads": options.threads[0], "processor": _processor(), "unveil": code_version()}
    for name, row in rows.items():
        box = None if row.peer.square is None else asdict(row.peer.square)
        by_condition = {condition: asdict(figures) for condition, figures in row.figures.items()}
        about = {
            "title": row.peer.title,
            "trained_on": row.peer.trained_on,
            "box": box,
            "offset_px": row.peer.offset_px,
        }
        report[name] = {
            **about,
            **asdict(row.timings[options.threads[0]]),
            "ms_per_face_by_threads": {count: timing.ms_per_face for count, timing in row.timings.items()},
            "conditions": by_condition,
        }
    return report


def _write(path: Path, content: object) -> None:
    write_file(path, (json.dumps(content, indent=1) + "\n").encode())


def _processor() -> str:
    """Return the processor's name on Linux, elsewhere its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    sys.exit(main())
