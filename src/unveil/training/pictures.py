"""What a run shows of its faces. B faces, S pixels a side."""

import cv2
import numpy as np
import torch
from torch import Tensor

from unveil.geometry import unit_to_crop_px


def drawn_landmarks(images: Tensor, *shapes_unit: Tensor) -> Tensor:
    """Faces (B, 3, S, S) side by side with truth in white and prediction in red, (3, S, B S), uint8."""
    pictures = (images * 255).byte().permute(0, 2, 3, 1).cpu().numpy()
    faces = []
    for image, *shapes in zip(pictures, *(shape.float().cpu().numpy() for shape in shapes_unit), strict=True):
        face = np.ascontiguousarray(image)
        for shape, colour in zip(shapes, ((255, 255, 255), (255, 40, 40)), strict=True):
            for x, y in unit_to_crop_px(shape, len(face)).round().astype(int):
                cv2.circle(face, (int(x), int(y)), 1, colour, -1)
        faces.append(face)
    return torch.from_numpy(np.concatenate(faces, axis=1)).permute(2, 0, 1)
