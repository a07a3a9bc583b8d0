"""Training to restore covered faces: the pairs, the networks of GAN-IA and DRDA, the phases and the validation.

B faces, S pixels of a crop's side.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import cached_property

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from unveil.data.datasets.samples import Faces
from unveil.data.occlusion import OcclusionSampler
from unveil.data.restoration_pairs import NONE, RestorationPair, component_pair, held_out, restoration_pair, with_guide
from unveil.metrics.restoration import Picture, hole_figures, overlap
from unveil.models.checkpoints import build, start_from
from unveil.models.discriminators import Discriminators, random_corners
from unveil.models.generator import as_generator_output
from unveil.schemes.scheme import IBUG68
from unveil.training.adversarial import DISCRIMINATORS, GENERATOR, Adversaries
from unveil.training.batches import Batch, Draws, Share, Slices, loaded
from unveil.training.config import Restoring
from unveil.training.gan_losses import (
    discriminator_loss,
    generator_loss,
    reconstruction_loss,
    restoration_loss,
)
from unveil.training.network_configs import GanIa
from unveil.types import Image

FACE = 256  # pixels of the whole face that a component is cut from, at least
ROOM = 1.6  # of the crop round it: the jaw's window is wider than the face's and lies lower
TRIES = 8
SHOWN = 6


def make_pair(
    faces: Faces,
    index: int,
    config: Restoring,
    sampler: OcclusionSampler,
    size: int,
    rng: np.random.Generator,
    still: bool,
) -> RestorationPair:
    """A face and the same covered; `still` frames it as it will be when the network is used, and always covers it.

    A component that the occluder missed is drawn again, `TRIES` times at most.
    """
    part, holes = config.model.part, config.holes
    occlude = sampler.cover if still else sampler
    if still:
        upright = {"rotation": 0.0, "shift": 0.0, "scale": (config.model.margin,) * 2, "flip": 0.0}
        bare = dict.fromkeys(("colour", "shade", "blur", "unguided"), 0.0)
        holes = holes.model_copy(update=upright | bare)
    if part is not None:
        near, far = holes.scale
        holes = holes.model_copy(update={"scale": (ROOM * near, ROOM * far)})

    def drawn(size: int) -> RestorationPair:
        image, points_px = faces.image(index), faces.points_px[index]
        return restoration_pair(image, points_px, scheme=faces.scheme, size=size, holes=holes, occlude=occlude, rng=rng)

    if part is None:
        window = drawn(size)
    else:
        for _ in range(TRIES):
            whole = drawn(max(FACE, 2 * size))
            window = component_pair(whole, part, size, None if still else rng)
            if window.mask.any() or whole.kind == NONE:
                break
    guided = isinstance(config.model, GanIa) and config.model.guided
    return with_guide(window, faces.scheme, holes, rng) if guided else window


def as_tensors(pair: RestorationPair) -> Batch:
    """Bytes, (S, S, 3), and (S, S) the mask; what a guided network is told is a fourth channel of the occluded face."""
    seen = pair.occluded if pair.guide is None else np.dstack([pair.occluded, pair.guide])
    return {
        "clean": torch.from_numpy(pair.clean),
        "occluded": torch.from_numpy(seen),
        "mask": torch.from_numpy(pair.mask),
    }


def refuse_sizes(config: Restoring) -> None:
    """ValueError if the judges' patch is larger than the face, or an autoencoder is to start at half its one size."""
    size, patch = config.model.size, config.judges.patch
    if isinstance(config.model, GanIa) and patch > size:
        raise ValueError(f"--patch {patch}: larger than the face of --size {size}; give {size} or less")
    if not isinstance(config.model, GanIa) and config.coarse_steps:
        raise ValueError(f"--coarse-steps {config.coarse_steps}: an autoencoder has one size; leave it out")


class TrainingPairs(Dataset[Batch]):
    """Random pairs. An item is (number of the draw, index of the face): the draw's number seeds all of it.

    The first `coarse` draws have half the side.
    """

    def __init__(self, faces: Faces, config: Restoring, sampler: OcclusionSampler, coarse: int) -> None:
        self.faces, self.config, self.sampler, self.coarse = faces, config, sampler, coarse

    def __getitem__(self, item: tuple[int, int]) -> Batch:
        draw, index = item
        rng = np.random.default_rng((self.config.schedule.seed, draw))
        size = self.config.model.size // 2 if draw < self.coarse else self.config.model.size
        pair = make_pair(self.faces, index, self.config, self.sampler, size, rng, still=False)
        drawn = torch.Generator().manual_seed(int(rng.integers(2**32)))
        patch = min(self.config.judges.patch, size)
        return {**as_tensors(pair), "corners": random_corners(1, size, patch, drawn)[0]}


class RestorationTask:
    """What the loop needs to know about training to restore. Its `config` lacks the kinds of occluder not to be had.

    ValueError if the faces are too few or of another scheme than ibug68, which occluders are placed by.
    """

    def __init__(self, faces: Faces, config: Restoring) -> None:
        cv2.setNumThreads(1)  # before OpenCV makes its threads: a forked loader waits for them for ever
        if faces.scheme != IBUG68:
            raise ValueError(
                f"{faces.label}: scheme {faces.scheme.name!r}, but occluders are placed by ibug68's 68 points"
            )
        refuse_sizes(config)
        library = config.occlusion.read_library()
        unavailable = config.occlusion.unavailable(library)
        self.sampler = OcclusionSampler(config.occlusion.without(*unavailable), library)
        if not self.sampler.kinds:
            kinds = ", ".join(config.occlusion.weights)
            raise ValueError(f"no occluder is left of {kinds}; give a --library of pictures or another kind")
        config = config.model_copy(update={"occlusion": self.sampler.config})
        self.faces, self.config = faces, config
        self.slices = Slices(*held_out(faces, config.held_out_faces, config.schedule.seed))
        if len(self.slices.training) < config.schedule.batch:
            sizes = f"{len(self.slices.training)} faces to train and {config.held_out_faces} held out"
            raise ValueError(
                f"{faces.label}: {sizes}, for a batch of {config.schedule.batch}; lower --batch or --held-out-faces"
            )
        self.notes = tuple(f"without {kind}: no library has pictures of it" for kind in unavailable)
        self.blueprint = config.model.blueprint(faces.scheme)
        torch.manual_seed(config.schedule.seed)
        network = build(self.blueprint)
        if config.start is not None:
            self.notes += (start_from(network, config.start),)
        adversarial = isinstance(config.model, GanIa)
        self.model = Adversaries(network, _discriminators(config)) if adversarial else network
        self.kept = GENERATOR if adversarial else ""

    def turns(self, step: int) -> tuple[str, ...]:
        """The generator alone, then the judges alone, then both, the judges on what the generator has just made."""
        config = self.config
        if not self.kept:
            return ("",)
        if step < config.generator_steps:
            return (GENERATOR,)
        if step < config.generator_steps + config.discriminator_steps:
            return (DISCRIMINATORS,)
        return (GENERATOR, DISCRIMINATORS)

    def parameter_groups(self) -> list[dict[str, object]]:
        schedule = self.config.schedule
        if not isinstance(self.model, Adversaries):
            return [schedule.group(self.model.parameters())]
        judges = schedule.group(self.model.discriminators.parameters()) | {"betas": (0.5, 0.99)}
        return [schedule.group(self.model.generator.parameters()), judges]

    def batches(self, start: int, process: int = 0, processes: int = 1) -> Iterator[Batch]:
        """Pairs from step `start`, made in one loader process; one's own part of them, of several processes."""
        schedule, share = self.config.schedule, Share(process, processes)
        order = Draws.of(self.faces, self.slices.training, schedule, start, share)
        coarse = min(self.config.coarse_steps, self.config.generator_steps)  # judges see one side only
        pairs = TrainingPairs(self.faces, self.config, self.sampler, coarse * schedule.batch * processes)
        return loaded(pairs, order)

    def prepare(self, batch: Batch, device: torch.device) -> Batch:
        """Bytes to the device, then RGB and mask in [0, 1], (B, 3, S, S) and (B, 1, S, S), channels last."""
        moved = {key: value.to(device, non_blocking=True) for key, value in batch.items()}
        for key in ("clean", "occluded"):
            moved[key] = moved[key].permute(0, 3, 1, 2).float() / 255
        moved["mask"] = moved["mask"][:, None].float()
        return moved

    def losses(self, model: nn.Module, batch: Batch, turn: str, step: int) -> dict[str, Tensor]:
        config, judges = self.config, self.config.judges
        if not self.kept:
            restored = model(batch["occluded"])
            loss = reconstruction_loss(restored, batch["clean"], batch["mask"], config.hole_weight, config.pixel_loss)
            return {"loss": loss}
        judged = len(self.turns(step)) > 1
        found, real, verdict = model(batch, turn, judged)
        if turn == DISCRIMINATORS:
            whole, patch = discriminator_loss(real, verdict)
            return {"loss": whole + patch, "judge_whole": whole, "judge_patch": patch}
        restoring = restoration_loss(
            found,
            batch["clean"],
            batch["mask"],
            hole_weight=config.hole_weight,
            mask_weight=config.mask_weight,
            structure_weight=config.structure_weight,
            kind=config.pixel_loss,
        )
        terms = {"restored": restoring.reconstruction, "mask": restoring.mask}
        if not judged:
            return {"loss": restoring.loss, **terms}
        batch["restored"] = found.restored.detach()
        fooled = generator_loss(verdict)
        weighted = fooled.weighted(judges.whole_weight, judges.patch_weight)
        return {"loss": restoring.loss + weighted, **terms, "fool_whole": fooled.whole, "fool_patch": fooled.patch}

    @cached_property
    def validation(self) -> list[RestorationPair]:
        """Held-out faces, each under one occluder: the same ones in every run."""
        held = self.slices.validation
        chosen = held[np.linspace(0, len(held) - 1, min(self.config.validated_faces, len(held))).astype(int)]
        size = self.config.model.size
        return [
            make_pair(
                self.faces, int(i), self.config, self.sampler, size, np.random.default_rng((0, int(i))), still=True
            )
            for i in chosen
        ]

    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """On held-out faces: the means of PSNR (dB), SSIM and absolute error in the hole, and of the mask's overlap.

        `score` is the error plus what the mask lacks of the truth.
        """
        found: list[tuple[Tensor, Tensor]] = []
        for start in range(0, len(self.validation), self.config.schedule.batch):
            chunk = [as_tensors(pair) for pair in self.validation[start : start + self.config.schedule.batch]]
            batch = self.prepare({key: torch.stack([item[key] for item in chunk]) for key in chunk[0]}, device)
            with torch.no_grad():
                restoration = as_generator_output(model(batch["occluded"]))
            found += zip(restoration.composed(batch["occluded"]).float().cpu(), restoration.mask.cpu(), strict=True)
        pictures = [(picture.permute(1, 2, 0) * 255).numpy() for picture, _ in found]
        figures = mean_figures(self.validation, pictures)
        if self.kept:
            figures["iou"] = _overlap(self.validation, [mask[0].numpy() > 0.5 for _, mask in found])
        return {**figures, "score": figures["error"] + 1 - figures.get("iou", 1.0)}

    def baselines(self) -> dict[str, dict[str, float]]:
        """What a restorer has to beat on the validation's faces: doing nothing, and OpenCV's inpainting, which is
        told the true mask."""
        return {
            "occluded": mean_figures(self.validation, [pair.occluded for pair in self.validation]),
            "inpainted": mean_figures(self.validation, [inpainted(pair) for pair in self.validation]),
        }

    @torch.no_grad()
    def picture(self, model: nn.Module, batch: Batch) -> Tensor:
        """Six faces of a batch side by side: occluded, restored, the mask found and clean below each other."""
        occluded = batch["occluded"][:SHOWN]
        found = as_generator_output(model(occluded))
        mask = found.mask.float().expand(-1, 3, -1, -1)
        rows = (occluded[:, :3], found.composed(occluded).float(), mask, batch["clean"][:SHOWN])
        grid = torch.cat([torch.cat(list(row), dim=2) for row in rows], dim=1)
        return (grid * 255).byte().cpu()


def inpainted(pair: RestorationPair) -> Image:
    """The face as OpenCV's inpainting (Telea 2004) fills it, told the true mask."""
    return np.asarray(cv2.inpaint(pair.occluded, pair.mask.astype(np.uint8), 3, cv2.INPAINT_TELEA), np.uint8)


def mean_figures(pairs: Sequence[RestorationPair], pictures: Sequence[Picture]) -> dict[str, float]:
    """The means over faces of what `hole_figures` says inside the holes; bare faces are left out."""
    found = [
        asdict(hole_figures(pair.clean, picture, pair.mask))
        for pair, picture in zip(pairs, pictures, strict=True)
        if pair.mask.any()
    ]
    if not found:
        raise ValueError(f"none of {len(pairs)} faces is covered; hold more faces out or give other occluders")
    return {name: float(np.mean([figures[name] for figures in found])) for name in found[0]}


def _overlap(pairs: list[RestorationPair], masks: list[np.ndarray]) -> float:
    """The mean over faces of intersection over union."""
    return float(
        np.mean([overlap(pair.mask, mask) for pair, mask in zip(pairs, masks, strict=True) if pair.mask.any()])
    )


def _discriminators(config: Restoring) -> Discriminators:
    judges = config.judges
    attention = isinstance(config.model, GanIa) and config.model.attention
    return Discriminators(
        config.model.size, judges.patch, width=judges.judge_width, attention=attention, joint=judges.joint
    )
