"""What training divides errors by, as `unveil.metrics` does, but in torch. B faces, L landmarks."""

from jaxtyping import Float
from torch import Tensor

from unveil.metrics.errors import BOX, normaliser_names
from unveil.schemes.scheme import Scheme


def training_normaliser(scheme: Scheme) -> str:
    """`ocular` if the scheme has it, else the first that it has, else `box`, which every scheme has."""
    names = normaliser_names(scheme)
    return "ocular" if "ocular" in names else names[0]


def face_lengths(points: Float[Tensor, "B L 2"], scheme: Scheme, normaliser: str) -> Float[Tensor, "B"]:
    """The faces' lengths in the unit of the points: between the means of two landmark sets, or sqrt(w h) of the box."""
    if normaliser == BOX:
        return (points.amax(dim=1) - points.amin(dim=1)).prod(dim=-1).sqrt()
    one, other = (points[:, list(side)].mean(dim=1) for side in scheme.normalisers[normaliser])
    lengths: Tensor = (one - other).norm(dim=-1)
    return lengths
