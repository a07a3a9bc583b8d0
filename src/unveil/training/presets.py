"""Named runs of GlomFace: `unveil train NAME --data packs/300w-train.npz`."""

from collections.abc import Mapping
from types import MappingProxyType

from unveil.data.augment import AugmentConfig
from unveil.data.occlusion import OcclusionConfig
from unveil.models.glomface import GlomFaceConfig, GlomFaceLightConfig
from unveil.training.config import LandmarkTrainConfig, ScheduleConfig

NOISE_ONLY = OcclusionConfig.of_kinds(noise=1.0, occluded_fraction=0.5, second_fraction=0.0)
"""The paper's occlusion: one rectangle of noise."""

GLOMFACE = LandmarkTrainConfig(
    model=GlomFaceConfig(aux_heads=False),
    imagenet=False,
    schedule=ScheduleConfig(
        steps=50_000,
        batch=64,
        lr=2e-4,
        warmup=0.0,
        decay=0.0,
        lr_gamma=0.97,
        weight_decay=0.0,
        max_grad_norm=1e9,
        ema=0.9999,
    ),
    augment=AugmentConfig(rotation=10.0, scale=(0.778, 1.130), shade=0, grey=0, blur=0),
    occlusion=NOISE_ONLY,
    shape_loss="l2",
    clusters=60,
    clusters_per_batch=50,
    compact_checkpoint=True,
)
"""The training of section 4.2 on equation 3 alone. What it leaves out is as in the authors' code: rotation, scale (the
image is magnified by 0.885 to 1.285), a jittered starting box, 50 of 60 clusters of shapes for each batch, averaged
weights.

Different from there: the box's jitter has our size, Adam's second moment has a decay of 0.99, and the memory has a
smaller learning rate (docs/decisions/0010).
"""


VISIBILITY = LandmarkTrainConfig(
    model=GlomFaceLightConfig(visibility_dim=96),
    imagenet=False,
    visibility_only=True,
    unlabelled_weight=0.2,
    occluded_weight=1.25,
    val_share=0.3,
    schedule=ScheduleConfig(
        steps=700, batch=32, lr=2e-3, warmup=0.02, decay=0.6, weight_decay=0.02, ema=0.99, backbone_lr_scale=1.0
    ),
    augment=AugmentConfig(rotation=15.0, shift=0.04, scale=(0.88, 1.15), annotation_offset=0.0035),
    occlusion=OcclusionConfig.of_kinds(
        noise=0.5,
        polygon=1,
        mask=2,
        flat=1,
        sunglasses=1.5,
        hair=3,
        hat=1.5,
        hood=1,
        scarf=1.5,
        beard=1.5,
        glasses=1,
        held=1.5,
        occluded_fraction=0.5,
    ),
)
"""The visibility head of a trained light network, on faces with occlusion labels. The model card has the command."""


BASE = LandmarkTrainConfig(
    model=GlomFaceLightConfig(
        input_size=224, patch_spacings_unit=(0.1, 0.07, 0.045, 0.03), refined=128, passes=2, ellipse=True
    ),
    schedule=ScheduleConfig(steps=20_000, lr=5e-4, backbone_lr_scale=0.4, warmup=0.01, decay=0.2, ema=0.998),
    augment=AugmentConfig(rotation=15.0, shift=0.035, scale=(0.88, 1.15), warp=0.35, annotation_offset=0.0035),
    shape_loss="ellipse",
)
"""A larger network that can start from the light one (`--init-from`)."""


def _light(**sizes: object) -> LandmarkTrainConfig:
    return LandmarkTrainConfig(model=GlomFaceLightConfig.model_validate(sizes))


LANDMARK_PRESETS: Mapping[str, LandmarkTrainConfig] = MappingProxyType(
    {
        "glomface-light": LandmarkTrainConfig(),
        "glomface-light-visibility": VISIBILITY,
        "glomface-base": BASE,
        "glomface": GLOMFACE,
        "glomface-star": GLOMFACE.model_copy(
            update={"model": GlomFaceConfig(aux_heads=False, coord_conv=True), "shape_loss": "wing"}
        ),
        "light-no-phm": _light(phm=False),
        "light-no-whm": _light(whm=False),
        "light-whm-only": _light(token_head=False),
        "light-no-memory": _light(memory=False),
        "light-2-levels": _light(levels=2),
        "light-3-levels": _light(levels=3),
        "light-4-levels": _light(levels=4),
        "light-1-step": _light(patch_spacings_unit=(0.10,)),
        "light-2-steps": _light(patch_spacings_unit=(0.10, 0.045)),
        "light-4-steps": _light(patch_spacings_unit=(0.10, 0.08, 0.06, 0.045)),
    }
)
"""`light-*` leave out one part of the light network each, to measure its contribution.

Cost and result on a core with AVX2, as inter-ocular NME on 300W Common:

- glomface-light, by the commands of its model card: 18.75 hours, the last three with AVX-512, 2.81 %.
- light-*, by `python -m benchmarks.ablation train`: ten minutes each at 112 px, 5.36 to 6.40 %.
- glomface: 8.46 % at T = 1 after 95 minutes, 7.71 % at T = 4 after eight more; it needs a GPU.
"""
