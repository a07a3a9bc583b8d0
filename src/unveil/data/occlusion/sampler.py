"""Which occluders cover faces, how often and how much: one configuration and one sampler for training and evaluation.

L landmarks. H and W are the image's height and width.
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from unveil.data.occlusion.compose import Occluded, unoccluded
from unveil.data.occlusion.kinds import KINDS, REGISTRY, occluder
from unveil.data.occlusion.library import TEST_TEMPLATES, Library
from unveil.schemes.scheme import IBUG68, Scheme
from unveil.types import Image, Points

Fraction = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]


class OcclusionConfig(BaseModel):
    """The kinds of occluder with their weights, the fraction of faces that they cover, and the images they use.

    A weight of 0 switches a kind off. Masks, templates and sunglasses are placed by the 68 points of ibug68; faces of
    other schemes never get them.

    Example:
        >>> OcclusionConfig.of_kinds(mask=3, noise=1, coverage=(0.1, 0.5)).weights
        {'noise': 1.0, 'mask': 3.0}
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    noise: Weight = 1.5
    """Rectangles of noise."""
    polygon: Weight = 2.0
    """Textured polygons and blobs."""
    mask: Weight = 4.0
    """Drawn masks that follow the face."""
    template: Weight = 0.0
    """Images of masks, laid on through six anchors; needs a library."""
    sunglasses: Weight = 1.0
    """Dark glasses."""
    sprite: Weight = 0.0
    """Cut-out hands and objects; needs a library."""
    flat: Weight = 0.0
    """Drawn masks that are cut flat and laid on the face as templates are."""
    hair: Weight = 0.0
    """Drawn fringes, curtains and loose locks."""
    haircut: Weight = 0.0
    """Hair cut out of portraits; needs a library with hair."""
    hat: Weight = 0.0
    """Drawn beanies, caps, brimmed hats and helmets."""
    hood: Weight = 0.0
    """Drawn hoods and headscarves around the face."""
    scarf: Weight = 0.0
    """Drawn scarves, collars and turtlenecks."""
    beard: Weight = 0.0
    """Drawn beards, moustaches and goatees."""
    glasses: Weight = 0.0
    """Clear glasses: frames and reflections."""
    hand: Weight = 0.0
    """Cut-out hands with drawn arms; needs a library with a folder `hands`."""
    held: Weight = 0.0
    """Drawn microphones, phones, cups and food, with fingers."""
    occluded_fraction: Fraction = 0.7
    """Fraction of faces that get an occluder."""
    second_fraction: Fraction = 0.25
    """Fraction of occluded faces that get a second occluder."""
    coverage: tuple[Fraction, Fraction] | None = None
    """Range of the covered fraction of the face, for the scalable kinds; None: as large as the kind draws itself."""
    library: Path | None = None
    """Folder with `masks/` (templates and anchors.json) and folders of sprites."""
    exclude_templates: tuple[str, ...] = TEST_TEMPLATES
    """Names of templates, or beginnings of names, that are not used."""

    @classmethod
    def of_kinds(cls, **settings: object) -> Self:
        """Build a configuration with the given kinds alone.

        Args:
            settings: Weights by kind, and other fields of the configuration.

        Returns:
            The configuration; a kind that is not given has weight 0.
        """
        return cls.model_validate({**dict.fromkeys(KINDS, 0.0), **settings})

    @property
    def weights(self) -> dict[str, float]:
        """The kinds that occur, with their weights."""
        weights: dict[str, float] = {kind: getattr(self, kind) for kind in KINDS}
        return {kind: weight for kind, weight in weights.items() if weight > 0}

    def without(self, *kinds: str) -> Self:
        """Return the configuration with some kinds switched off.

        Args:
            kinds: The kinds.
        """
        return self.model_copy(update=dict.fromkeys(kinds, 0.0)) if kinds else self

    def unsupported(self, scheme: Scheme) -> tuple[str, ...]:
        """Return the kinds with a weight that cannot be placed on faces of a scheme.

        Args:
            scheme: The landmark scheme of the faces.
        """
        return tuple(kind for kind in self.weights if scheme != IBUG68 and not REGISTRY[kind].any_scheme)

    def for_scheme(self, scheme: Scheme) -> Self:
        """Return the configuration without the kinds that cannot be placed on faces of a scheme.

        Args:
            scheme: The landmark scheme of the faces.
        """
        return self.without(*self.unsupported(scheme))

    def unavailable(self, library: Library) -> tuple[str, ...]:
        """Return the kinds with a weight that a library has no images for.

        Args:
            library: The library.
        """
        return tuple(kind for kind in self.weights if not library.has(REGISTRY[kind].images))

    def read_library(self) -> Library:
        """Return the images in `library`; without a folder an empty library."""
        return Library.read(self.library, exclude=self.exclude_templates)


class OcclusionSampler:
    """Covers faces with random occluders.

    Args:
        config: The kinds, their weights and how often they occur.
        library: The images to use; by default those of `config.library`.

    Raises:
        ValueError: A kind with a weight needs images that the library does not have.

    Example:
        >>> sampler = OcclusionSampler(OcclusionConfig())
        >>> occluded = sampler(image, points_px, np.random.default_rng(0))
    """

    def __init__(self, config: OcclusionConfig, library: Library | None = None) -> None:
        self.config = config
        self.library = config.read_library() if library is None else library
        weights = config.weights
        self.kinds = tuple(weights)
        self._probabilities = np.array(list(weights.values())) / max(sum(weights.values()), 1e-12)
        # Built now so that a kind without images is reported before the first face.
        self._occluders = {kind: occluder(kind, self.library) for kind in self.kinds}

    @classmethod
    def of_kind(cls, kind: str, library: Library | None = None, coverage: float | None = None) -> Self:
        """Return a sampler that covers every face with one occluder of one kind.

        Args:
            kind: One of `KINDS`.
            library: The images to use.
            coverage: Fraction of the face to cover, 0 to 1, for the scalable kinds; other kinds ignore it.

        Raises:
            ValueError: Unknown kind, coverage outside 0 to 1, or a kind that the library has no images for.
        """
        occluder(kind, library or Library(), coverage)
        span = None if coverage is None else (coverage, coverage)
        settings = {kind: 1.0, "occluded_fraction": 1.0, "second_fraction": 0.0, "coverage": span}
        return cls(OcclusionConfig.of_kinds(**settings), library or Library())

    def __call__(self, image: Image, points_px: Points, rng: np.random.Generator) -> Occluded:
        """Cover a face with no, one or two occluders, as often as the configuration says.

        Random numbers are drawn only where there is a choice.

        Args:
            image: RGB, (H, W, 3).
            points_px: Landmarks (L, 2) in pixels.
            rng: The same state gives the same result.

        Returns:
            The image, the union of the occluders' masks and the kinds that were drawn; no kinds if none was.
        """
        if not self.kinds or not _happens(self.config.occluded_fraction, rng):
            return unoccluded(image)
        occluded = self.cover(image, points_px, rng)
        if _happens(self.config.second_fraction, rng):
            second = self.cover(occluded.image, points_px, rng)
            occluded = Occluded(second.image, occluded.mask | second.mask, occluded.kinds + second.kinds)
        return occluded

    def cover(self, image: Image, points_px: Points, rng: np.random.Generator) -> Occluded:
        """Return a face under exactly one occluder, its kind drawn by weight.

        Args:
            image: RGB, (H, W, 3).
            points_px: Landmarks (L, 2) in pixels.
            rng: The same state gives the same result.
        """
        index = 0 if len(self.kinds) == 1 else int(rng.choice(len(self.kinds), p=self._probabilities))
        kind = self.kinds[index]
        draw = self._occluders[kind]
        if self.config.coverage is not None and REGISTRY[kind].scalable:
            low, high = self.config.coverage
            draw = occluder(kind, self.library, low if low == high else float(rng.uniform(low, high)))
        return replace(draw(image, points_px, rng), kinds=(kind,))


def _happens(probability: float, rng: np.random.Generator) -> bool:
    """Draw a yes or no; a certain outcome draws no random number."""
    return probability >= 1 or (probability > 0 and bool(rng.random() < probability))
