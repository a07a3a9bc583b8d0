"""Drawn hair over the face: fringes over the brows, curtains over temples and cheeks, loose locks."""

import math

import numpy as np

from unveil.data.occlusion.compose import Occluded
from unveil.data.occlusion.frame import FaceImage, Head
from unveil.data.occlusion.scene import Lock, draw_hair


def hair(face: FaceImage, rng: np.random.Generator) -> Occluded:
    """Return the face under hair.

    Args:
        face: The face.
        rng: The random generator.
    """
    head = face.head
    draw = rng.random()
    if draw < 0.4:
        locks = _fringe(head, rng)
    elif draw < 0.75:
        locks = _curtains(head, rng)
        if rng.random() < 0.35:
            locks += _fringe(head, rng)
    else:
        locks = _loose(head, rng)
    return draw_hair(face, locks, rng)


def _fringe(head: Head, rng: np.random.Generator) -> list[Lock]:
    """Return locks from the crown over the forehead; they end between above the brows and below the eyes."""
    reach, spread = rng.uniform(-0.1, 0.62), rng.uniform(0.03, 0.16)
    sweep = rng.uniform(-0.5, 0.5) * rng.integers(2)
    parting = rng.uniform(0.25, 0.75) if rng.random() < 0.3 else None  # no hair hangs below a parting
    first, last = (0.06, 0.94) if rng.random() < 0.6 else sorted(rng.uniform(0.05, 0.95, 2))
    count = int(rng.integers(18, 36))
    thick = rng.uniform(0.9, 1.7)
    locks = []
    for place in np.linspace(first, last, count) + rng.normal(0, 0.015, count):
        root = head.arc(np.array([math.pi * place]), 0.96, rng.uniform(0.7, 0.98))[0]
        x = head.middle + 0.95 * head.radius * math.cos(math.pi * place)
        end = head.brows + reach + rng.normal(0, spread)
        if parting is not None:
            end -= 1.0 * max(0.0, 1 - abs(place - parting) / 0.22)
            x += 0.25 * np.sign(parting - place)
        tip = np.array([x + sweep * rng.uniform(0.6, 1.2) + rng.normal(0, 0.05), max(end, root[1] + 0.15)])
        bend = np.array([rng.normal(0, 0.06) + 0.2 * sweep, -0.1])
        width = head.radius * thick / count * rng.uniform(0.7, 1.5)
        locks.append(Lock.between(root, tip, width, bend, rng))
    return [locks[i] for i in rng.permutation(len(locks))]


def _curtains(head: Head, rng: np.random.Generator) -> list[Lock]:
    """Return locks that fall from the crown along the temples and cheeks, on one side or on both."""
    sides = (-1.0, 1.0) if rng.random() < 0.6 else (float(rng.choice((-1.0, 1.0))),)
    inward, length = rng.uniform(-0.05, 0.5), rng.uniform(0.2, 2.4)
    locks = []
    for sign in sides:
        count = int(rng.integers(10, 18))
        for step in np.linspace(0, 1, count):
            angle = math.pi / 2 - sign * math.pi * (0.08 + 0.42 * step)
            root = head.arc(np.array([angle]), 1.05, rng.uniform(0.85, 1.02))[0]
            edge = 1.1 - inward * (1 - step)
            x = head.middle + sign * head.radius * (edge + rng.normal(0, 0.05))
            tip = np.array([x, head.eyes + length * rng.uniform(0.75, 1.1)])
            bend = np.array([sign * head.radius * rng.uniform(0.05, 0.3), -0.2])
            locks.append(Lock.between(root, tip, rng.uniform(0.05, 0.13), bend, rng, wave=0.1))
    return locks


def _loose(head: Head, rng: np.random.Generator) -> list[Lock]:
    """Return a few locks that hang or blow across the face."""
    locks = []
    for _ in range(int(rng.integers(2, 8))):
        root = head.arc(np.array([rng.uniform(0.05, 0.95) * math.pi]), 1.0, rng.uniform(0.75, 1.0))[0]
        target = head.face[rng.integers(len(head.face))]
        tip = target + (target - root) * rng.uniform(0, 0.2) + rng.normal(0, 0.1, 2)
        bend, width, part = rng.normal(0, 0.35, 2), rng.uniform(0.015, 0.06), rng.uniform(0.03, 0.15)
        for _ in range(int(rng.integers(1, 5))):
            apart = rng.normal(0, part, (3, 2))
            lock = Lock.between(root + 0.3 * apart[0], tip + apart[1], width, bend + apart[2], rng, wave=0.12)
            locks.append(lock)
    return locks
