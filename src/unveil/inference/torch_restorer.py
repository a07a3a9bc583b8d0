"""Restorers from training runs, run by torch, for the training and evaluation of regressors. Needs torch."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from unveil.inference.restorer import CropNetwork, ForwardFn, Restorer, in_component_order
from unveil.models.checkpoints import NETWORKS, Networks, load_network
from unveil.models.generator import as_generator_output
from unveil.models.network import NetworkSpec
from unveil.schemes.ibug68 import COMPONENTS

BATCH_SIZE = 32
RESTORER_NETWORKS = ("gan-ia", "drda")
# The last weights are those after the adversarial phase; the best ones by pixels may be older.
WEIGHTS = ("last.safetensors", "best.safetensors", "model.safetensors")


def load_torch_restorer(path: Path, networks: Networks = NETWORKS) -> Restorer:
    """Load the restorer of a weights file, of a run's or model's folder, or of a folder of such folders.

    Args:
        path: The file or folder. A folder of folders has one of each component.
        networks: The builders to choose from; `unveil.registry.NETWORKS` has DRDA too.

    Returns:
        The restorer.

    Raises:
        ValueError: If a file holds no restorer, or the components are not complete.
    """
    loaded = [(file, *load_network(file, networks)) for file in restorer_files(path)]
    for file, _, spec in loaded:
        if spec.network not in RESTORER_NETWORKS:
            raise ValueError(f"{file}: network {spec.network!r} is no restorer; train gan-ia or drda")
    parts = [(spec.component, (network, spec)) for _, network, spec in loaded]
    ordered = in_component_order(path, parts, path.is_dir() and not _weights_in(path))
    return Restorer(tuple(crop_network(network, spec) for network, spec in ordered), path.name, BATCH_SIZE)


def crop_network(network: nn.Module, spec: NetworkSpec) -> CropNetwork:
    """Return a network in evaluation mode as a part of a restorer, on the GPU if there is one.

    Args:
        network: The network.
        spec: How it was built: its component, input size and margin.
    """
    network = network.eval().to("cuda" if torch.cuda.is_available() else "cpu")
    component = next((part for part in COMPONENTS if part.name == spec.component), None)
    guided = bool(getattr(network, "guided", False))
    return CropNetwork(_torch_forward(network), spec.input_size, spec.margin, guided, component)


def _torch_forward(network: nn.Module) -> ForwardFn:
    device = next(network.parameters()).device

    @torch.no_grad()
    def forward(images: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        output = as_generator_output(network(torch.from_numpy(images).to(device)))
        return output.restored.float().cpu().numpy(), output.mask.float().cpu().numpy()

    return forward


def restorer_files(path: Path) -> list[Path]:
    """Return the weights files of a restorer.

    Args:
        path: A weights file, a run's or model's folder, or a folder of such folders.

    Raises:
        ValueError: If there are none.
    """
    if not path.is_dir():
        return [path]
    folders = [path] if _weights_in(path) else sorted(below for below in path.iterdir() if below.is_dir())
    found = [file for folder in folders if (file := _weights_in(folder)) is not None]
    if not found:
        raise ValueError(f"{path}: none of {', '.join(WEIGHTS)} in it or in its folders; name a run of gan-ia or drda")
    return found


def _weights_in(folder: Path) -> Path | None:
    return next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
