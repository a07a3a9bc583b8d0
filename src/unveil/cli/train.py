"""`unveil train`: a preset or a run's settings, a pack or folder of faces, and any setting changed by its option."""

import argparse
import math
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from unveil.cli.images import check_writable
from unveil.installation import install_command

if TYPE_CHECKING:
    from unveil.training.config import TrainConfig

LATEST = Path("runs/latest")
CHECKPOINTS = "**/checkpoint.pt"


@dataclass(frozen=True)
class Options:
    """The faces, the settings and the folder of a run.

    Attributes:
        data: Pack or folder of the faces.
        config: Settings of the run.
        more: Packs or folders with faces for training only.
        scheme: Landmark scheme of folders: its file or a built-in name.
        occlusion_labels: CSV of hand-made occlusion labels.
        out: Folder of the run.
        resume: Whether to continue from the checkpoint in `out`.
    """

    data: Path
    config: "TrainConfig"
    more: tuple[Path, ...]
    scheme: str | None
    occlusion_labels: Path | None
    out: Path
    resume: bool


@dataclass(frozen=True)
class _Nothing:
    """A second type of settings, which is never used."""


def parse(arguments: Sequence[str]) -> Options:
    """Read the command line.

    The first argument is a preset, unless --config or --resume names a run's settings. They are the defaults of the
    other options. Exits as tyro does.
    """
    with _training_libraries():
        from unveil.registry import PRESETS, preset, read_config

    rest = list(arguments)
    name = rest.pop(0) if rest and not rest[0].startswith("-") else None
    peek = _peek(rest)
    if {"--steps", "--epochs"} <= {word.partition("=")[0] for word in rest}:
        raise ValueError("--steps and --epochs: both set the length of the run; give one")
    config = None if name is None else preset(name)
    if peek.resume:
        run: Path = peek.out or LATEST
        if not any(run.glob(CHECKPOINTS)) or not (run / "config.json").is_file():
            raise ValueError(f"{run}: no checkpoint to resume; leave --resume out to start the run")
        config = _settings(read_config(run / "config.json"), run / "config.json", config)
    if peek.config is not None:
        config = _settings(read_config(peek.config), peek.config, config)
    if config is None:
        names = ", ".join(PRESETS)
        if not rest or rest[0] in ("-h", "--help"):
            print(f"usage: unveil train PRESET --data PATH ...\n\nPRESET is one of: {names}")
            print("unveil train PRESET --help lists its settings; --config FILE takes those of a run")
            raise SystemExit(0 if rest else 2)
        raise ValueError(f"name a preset first: unveil train PRESET --data PATH; there are {names}")

    # tyro passes on the error of a setting only if the settings are one of several types.
    Settings = type(config) | _Nothing  # noqa: N806

    def options(
        data: Annotated[Path, tyro.conf.arg(metavar="PATH")],
        settings: tyro.conf.AvoidSubcommands[tyro.conf.OmitArgPrefixes[Settings]] = config,  # type: ignore[valid-type]
        config: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None,
        more: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="PATH ...")] = (),
        scheme: Annotated[str | None, tyro.conf.arg(metavar="FILE|NAME")] = None,
        occlusion_labels: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None,
        out: Annotated[Path, tyro.conf.arg(metavar="RUN")] = LATEST,
        resume: tyro.conf.FlagCreatePairsOff[bool] = False,
    ) -> Options:
        """Train a network. Ctrl-C saves; --resume continues with the same order of faces.

        Args:
            data: A pack that `unveil prepare` wrote, or a folder of images with .pts files.
            settings: The preset's settings.
            config: Settings of a run, its config.json; options on the command line change them.
            more: More packs or folders, for training only, for example with a teacher's predictions.
            scheme: Scheme of a folder that is not annotated in ibug68: its file or a built-in name. Packs have one.
            occlusion_labels: Hand-made labels of the occluded regions of --data: CSV with name and regions. With
                --visibility-only, the faces of --data without a label are left out.
            out: Folder for weights, checkpoint, settings and metrics.
            resume: Continue from RUN's checkpoint, with RUN's settings and the options that are given.
        """
        del config  # read before, as the defaults
        return Options(data, settings, more, scheme, occlusion_labels, out, resume)

    from pydantic import ValidationError

    try:
        return tyro.cli(options, prog=f"unveil train {name or config.model.network}", args=rest)
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][-1]).replace("_", "-") if first["loc"] else error.title
        raise ValueError(f"--{field} {first['input']}: {first['msg']}") from error


def _peek(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the options that decide about the defaults of all others, before tyro does."""
    peek = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    peek.add_argument("--out", type=Path, nargs="?", default=LATEST)
    peek.add_argument("--config", type=Path)
    peek.add_argument("--resume", action="store_true")
    return peek.parse_known_args(arguments)[0]


def _settings(found: "TrainConfig", path: Path, preset: "TrainConfig | None") -> "TrainConfig":
    """Return a file's settings; ValueError if they are of another kind of network than the preset."""
    if preset is not None and type(preset) is not type(found):
        network = found.model.network
        raise ValueError(f"{path}: it is a run of {network!r}; resume or copy it with a preset of that network")
    return found


@contextmanager
def _training_libraries() -> Iterator[None]:
    """Turn the failed import of a library of the extra [train] into one line."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ValueError(f"training needs {error.name}: {install_command('train')}") from None


def run(options: Options) -> int:
    """Train; 0 done, 2 not started, 130 interrupted."""
    from rich.console import Console

    from unveil.data.occlusion_labels import with_occlusion_labels
    from unveil.data.pack import read_faces
    from unveil.schemes.scheme_file import load_scheme

    with _training_libraries():
        from unveil.registry import build_task
        from unveil.training.runtime import keep_freed_memory

        keep_freed_memory()
        check_writable(options.out)
        if not options.resume and any(options.out.glob(CHECKPOINTS)):
            raise ValueError(f"{options.out}: holds a run; add --resume to continue it, or name another --out")
        scheme = None if options.scheme is None else load_scheme(options.scheme)
        faces = read_faces(options.data, scheme)
        if options.occlusion_labels is not None:
            only_labelled = getattr(options.config, "visibility_only", False)
            faces = with_occlusion_labels(faces, options.occlusion_labels, only_labelled=only_labelled)
        more = [read_faces(path, scheme) for path in options.more]
        task = build_task(faces, options.config, more)
    first = os.environ.get("RANK", "0") == "0"  # of the processes that accelerate or torchrun started
    console = Console(stderr=True, quiet=not first)
    parameters = sum(weight.numel() for weight in task.model.parameters()) / 1e6
    counts = f"{len(task.split.train)} faces train, {len(task.split.val)} validate"
    for line in (*task.notes, f"{task.faces.label}: {counts}; {parameters:.2f} M parameters"):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    try:
        result = task.fit(options.out, resume=options.resume, console=console)
    except ValueError as error:
        if first:  # the others have the same message
            print(f"error: {error}", file=sys.stderr)
        return 2
    best = "best " + ", ".join(f"{name} {value:.3f}" for name, value in result.best.items())
    ended = ", interrupted: continue with --resume" if result.interrupted else ""
    if first:
        print(
            f"{options.out}: step {result.step}{ended}; "
            f"{best if math.isfinite(result.best['score']) else 'not validated yet'}"
        )
    return 130 if result.interrupted else 0
