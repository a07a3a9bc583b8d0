"""The runs that have names: landmarks, and what restores faces."""

from collections.abc import Mapping
from difflib import get_close_matches
from types import MappingProxyType

from unveil.data.augment import Augmentation
from unveil.data.occlusion import OcclusionConfig
from unveil.models.generator import SIZES
from unveil.training.config import Alignment, AnyRun, Cascaded, Judges, PoseGuided, Restoring, Schedule
from unveil.training.network_configs import Drda, Drn, GanIa, Hourglass, Light, Network, Paper, Pfld, Plain

NOISE_ONLY = OcclusionConfig.of_kinds(noise=1.0, occluded_fraction=0.5)
"""The paper's occlusion: one rectangle of noise."""

GLOMFACE = Alignment(
    model=Paper(),
    schedule=Schedule(
        steps=50_000, batch=64, rate=2e-4, warmup=1, decay=0, shrink=0.97, weight_decay=0.0, clip=1e9, ema=0.9999
    ),
    augmentation=Augmentation(rotation=10.0, shift=0.0, scale=(0.885, 1.285), shade=0, grey=0, blur=0),
    occlusion=NOISE_ONLY,
    shape_loss="l2",
    memory_rate=0.05,
)
"""Section 4.2 and, for what it leaves out, the authors' code: rotation, scale, clusters and averaged weights.

Not as there: a quarter of the faces with a rectangle get a second one; Adam's second moment remembers 0.99; the memory
moves slower (docs/decisions/0010).
"""


def _light(model: Network) -> Alignment:
    """The light variant's training of another network: what differs is the network alone."""
    return Alignment.model_validate({"model": model})


PRESETS: Mapping[str, Alignment] = MappingProxyType(
    {
        "glomface-light": Alignment(),
        "glomface": GLOMFACE,
        "glomface-star": GLOMFACE.model_copy(update={"model": Paper(coordinates=True), "shape_loss": "wing"}),
        "light-no-phm": _light(Light(phm=False)),
        "light-no-whm": _light(Light(whm=False)),
        "light-no-memory": _light(Light(memory=False)),
        "light-2-levels": _light(Light(levels=2)),
        "light-3-levels": _light(Light(levels=3)),
        "light-4-levels": _light(Light(levels=4)),
        "light-1-step": _light(Light(spacings_unit=(0.10,))),
        "light-2-steps": _light(Light(spacings_unit=(0.10, 0.045))),
        "light-4-steps": _light(Light(spacings_unit=(0.10, 0.08, 0.06, 0.045))),
        "plain": _light(Plain()),
        "hourglass": _light(Hourglass()),
        "hourglass-boundaries": _light(Hourglass(boundaries=True)),
    }
)
"""Landmark networks of one contract: `unveil train NAME --data packs/300w-train.npz`.

What they took and gave on a core with AVX2, as inter-ocular NME on 300W Common:

- glomface-light, by the commands of its card: eighteen and three quarter hours, the last three with AVX-512, 2.81 %.
- light-*, plain and hourglass*, by `python -m benchmarks.worth train`: ten minutes each at 112 px, 5.36 to 6.40 %
  (docs/hierarchy.md).
- glomface: 8.46 % at T = 1 after 95 minutes, 7.71 % at T = 4 after eight more (docs/hierarchy.md): five faces a second,
  then one; it wants a GPU.
"""

RESTORERS: Mapping[str, Restoring] = MappingProxyType(
    {
        # Sections 3.3 and 4.2; iterations are those of Iizuka et al. 2017, whose training the paper follows.
        "gan-ia": Restoring(),
        # For two cores: half of the generator's phase on 64 px, the hole weighs more than what is copied, and the
        # judges pull four times as hard as L_r (docs/decisions/0017).
        "gan-ia-light": Restoring(
            model=GanIa(size=128, **SIZES["gan-ia-light"].to_json()),
            schedule=Schedule(
                steps=16_000, batch=8, rate=1e-3, warmup=300, decay=6000, weight_decay=0.0, clip=1.0, ema=0.998
            ),
            generator_steps=13_500,
            discriminator_steps=500,
            coarse_steps=8000,
            judges=Judges(patch=64, judge_width=0.25, whole_weight=1e-2, patch_weight=1e-2),
            hole_weight=6.0,
            structure_weight=3.0,
            mask_weight=0.2,
        ),
        # Squared error alone, as its paper has it.
        "drda": Restoring(
            model=Drda(),
            schedule=Schedule(steps=20_000, batch=32, rate=5e-4, decay=8000, weight_decay=0.0, clip=1.0),
        ),
    }
)
"""Networks that restore: `unveil train NAME --data packs/faces.npz --library LIBRARY`. On a core with AVX2:

- gan-ia-light, by the commands of its card: six hours; PSNR 19.8 dB inside masks it never saw.
- drda, 700 steps of 32 for each component: five minutes; PSNR 16 to 21 dB.
"""

REGRESSORS: Mapping[str, PoseGuided | Cascaded] = MappingProxyType(
    {
        "pfld": PoseGuided(),
        "pfld-0.25": PoseGuided(model=Pfld(width=0.25)),
        "drn": Cascaded(),
        "sdm": Cascaded(model=Drn(hidden=(), stages=4), closed_form=True),
    }
)
"""The papers' other landmark networks, to measure against. What they took and gave, as for `PRESETS`:

- pfld, by the commands of its card: 80 minutes, 6.58 %.
- drn and sdm, by those of docs/restoring.md on bare faces: ten minutes at most, NRMSE 5.61 and 4.89 on bare ones.
"""

ALL: Mapping[str, AnyRun] = MappingProxyType({**PRESETS, **REGRESSORS, **RESTORERS})


def preset_named(name: str) -> AnyRun:
    """The preset of that name; ValueError with the nearest name if there is none."""
    if name not in ALL:
        near = get_close_matches(name, ALL, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(ALL)}"
        raise ValueError(f"unknown preset {name!r}: {hint}")
    return ALL[name]
