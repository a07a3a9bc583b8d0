"""An exported model of unveil, with the tight landmark box as input: `JOB FOLDER MODEL`."""

import sys
from importlib.metadata import version

import numpy as np
from benchmarks.peers.jobs import Box, Image, run, threads
from numpy.typing import NDArray

import unveil
from unveil.inference.aligner import AlignmentModel
from unveil.inference.onnx_model import model_folder, shipped_models


def main() -> None:
    model = AlignmentModel.load(sys.argv[3], threads=threads())

    def align(image: Image, box: Box) -> NDArray[np.float32]:
        return model(image, [unveil.types.Box(*box)])[0].points_px

    weights = model_folder(sys.argv[3], shipped_models()) / "model.onnx"
    sha256 = model.config.sha256["model.onnx"][:12]
    versions = {"unveil": unveil.__version__, "onnxruntime": version("onnxruntime"), "model.onnx sha256": sha256}
    run(align, [weights], versions)


if __name__ == "__main__":
    main()
