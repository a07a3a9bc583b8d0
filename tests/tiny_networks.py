"""A landmark network of reduced width and the settings to train it in seconds."""

from unveil.models.glomface import GlomFaceLightConfig
from unveil.training.config import LandmarkTrainConfig, ScheduleConfig

TINY = GlomFaceLightConfig(
    input_size=64,
    dim=16,
    memory_dim=24,
    part_dims=(16, 12, 8),
    patch_spacings_unit=(0.1,),
    channels=8,
    width_mult=0.25,
)


def tiny_config(steps: int = 1, batch: int = 4, **changes: object) -> LandmarkTrainConfig:
    """Return the settings of a run, with other fields changed."""
    schedule = ScheduleConfig(steps=steps, batch=batch)
    base = LandmarkTrainConfig(model=TINY, schedule=schedule, imagenet=False, val_share=0.3, threads=1)
    return base.model_copy(update=changes)
