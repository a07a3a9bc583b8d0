"""Makes a network's probabilities and spreads mean what they say, on held-out faces. N landmarks of many faces."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F


def calibrate_visibility(logits: Float[Tensor, "N"], visible: Bool[Tensor, "N"]) -> tuple[float, float]:
    """Gain and offset of the logit under which the probabilities are most likely (Platt 1999)."""
    values = torch.tensor([1.0, 0.0], dtype=torch.float64, requires_grad=True)
    x, y = logits.double(), visible.double()
    optimiser = torch.optim.LBFGS([values], max_iter=50, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        # A weak pull towards no change keeps the fit finite where the held-out faces are told apart without error.
        likelihood = F.binary_cross_entropy_with_logits(x * values[0] + values[1], y)
        total = likelihood + 1e-3 * ((values[0] - 1) ** 2 + values[1] ** 2)
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    gain, offset = values.tolist()
    return float(gain), float(offset)


def calibrate_spread(spread: Float[Tensor, "N"], error: Float[Tensor, "N"]) -> float:
    """The factor that makes the mean promised error the mean error."""
    return float(error.mean() / spread.mean())
