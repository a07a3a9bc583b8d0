"""Training PFLD: the loss weights faces by the error of their pose and by the rarity of their classes.

B faces, L landmarks.

Source: Guo et al. 2019.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from typing_extensions import override

from unveil.baselines.pfld import PfldConfig
from unveil.baselines.pfld_loss import attribute_weights, attributes_of, pfld_loss
from unveil.data.datasets.samples import Faces
from unveil.data.self_occlusion import self_occluded
from unveil.schemes.scheme import IBUG68
from unveil.training.config import ScheduleConfig, ViewTrainConfig
from unveil.training.faces import ViewTask
from unveil.training.restored_views import ROOM
from unveil.training.task import Batch, Losses

COUNTED_VIEWS = 400  # views on which the shares of the classes are counted


class PfldTrainConfig(ViewTrainConfig):
    """One run that trains PFLD."""

    model: PfldConfig = PfldConfig()
    schedule: ScheduleConfig = ScheduleConfig(
        steps=20_000, batch=32, lr=1e-3, warmup=0.015, decay=0.4, weight_decay=1e-6
    )


PFLD_PRESETS: Mapping[str, PfldTrainConfig] = MappingProxyType(
    {"pfld": PfldTrainConfig(), "pfld-0.25": PfldTrainConfig(model=PfldConfig(width_mult=0.25))}
)
"""pfld took 80 minutes on a core with AVX2, by the commands of its model card: 6.58 % NME on 300W Common."""


class _FacesWithPose(Dataset[Batch]):
    """Random views with their Euler angles, (3,), and classes, (5,); `room` is the side of a view in crop sides."""

    def __init__(self, views: Dataset[Batch], room: float = 1.0) -> None:
        self.views, self.room = views, room

    def __getitem__(self, item: tuple[int, int]) -> Batch:
        view = self.views[item]
        points, visible = (self.room * view["points_unit"]).numpy(), view["visible"].numpy()
        # Self-occlusion does not count as occlusion: the class "profile" covers it.
        attributes = attributes_of(points, visible | self_occluded(IBUG68, points))
        return {
            **view,
            "angles": torch.from_numpy(attributes.angles),
            "classes": torch.from_numpy(attributes.classes),
        }


class PfldTask(ViewTask[PfldTrainConfig]):
    """Train PFLD on faces of scheme ibug68, which the angles need. The constructor is that of `FacesTask`."""

    @override
    def setup(self, more: Sequence[Faces]) -> None:
        if self.faces.scheme != IBUG68:
            scheme = f"scheme {self.faces.scheme.name!r}, but PFLD's angles need ibug68's 68 points"
            raise ValueError(f"{self.faces.label}: {scheme}")
        super().setup(more)

    @override
    def random_views(self) -> Dataset[Batch]:
        return _FacesWithPose(super().random_views(), ROOM if self.restored else 1.0)

    @cached_property
    def class_shares(self) -> Tensor:
        """The share of each class in training views, counted on the first draws before the loader starts."""
        views = self.first_views(min(COUNTED_VIEWS, 4 * len(self.split.train)))
        return torch.stack([view["classes"] for view in views]).float().mean(dim=0)

    @override
    def losses(self, model: nn.Module, batch: Batch) -> Losses:
        weights = attribute_weights(batch["classes"], self.class_shares.to(batch["classes"].device))
        prediction = model(batch["images"])
        loss = pfld_loss(prediction, batch["points_unit"], batch["angles"], weights)
        degrees = (prediction.angles - batch["angles"]).abs().mean().rad2deg()
        return {"loss": loss, "degrees": degrees}
