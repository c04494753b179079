"""All bone of a patient as solids: the 25 vertebrae, and the ribs, sacrum, hips and skull that anchor them."""

from dataclasses import replace
from itertools import pairwise

import numpy as np

from spine.labels import IDS
from spine.phantom.anatomy import Level, Patient
from spine.phantom.posture import Frame, Vector, turned
from spine.phantom.rendering import Solid
from spine.phantom.shapes import Field, Points, Position, capsule, ellipsoid
from spine.phantom.vertebrae import Shape, sacral_segment, vertebra_box, vertebra_shape

_UNLABELLED = 0
# Half the width and half the depth of the rib cage, and the rib's length, in mm, for T1-T10.
_RIBS: tuple[tuple[float, float, float], ...] = (
    (52, 40, 90), (70, 55, 165), (84, 68, 215), (96, 78, 250), (105, 86, 270),
    (112, 92, 280), (118, 96, 285), (122, 98, 275), (125, 99, 260), (126, 99, 235),
)  # fmt: skip
_FLOATING_RIB_SIZE = (124.0, 98.0)
_RIB_11_LENGTH = 1.75  # of the twelfth rib's


def skeleton(patient: Patient, frames: dict[int, Frame]) -> list[Solid]:
    """Return every bone of a patient; only the vertebrae carry a label id of 1-25, the others 0."""
    vertebrae = [
        _bone(
            patient,
            vertebra_shape(patient.level(label), label=label),
            frame=frame,
            box=vertebra_box(patient.level(label)),
            label=label,
        )
        for label, frame in frames.items()
    ]
    return [*_skull(patient, frames), *_ribs(patient, frames), *_pelvis(patient, frames[IDS["S1"]]), *vertebrae]


def _bone(
    patient: Patient,
    shape: Shape,
    *,
    frame: Frame,
    box: tuple[Position, Position],
    label: int = _UNLABELLED,
) -> Solid:
    return Solid(
        shape=shape,
        frame=frame,
        low_mm=box[0],
        high_mm=box[1],
        core_hu=patient.core_hu(label) if label else patient.cancellous_hu,
        shell_hu=patient.cortex_hu,
        shell_mm=patient.cortex_mm,
        label=label,
    )


def _ribs(patient: Patient, frames: dict[int, Frame]) -> list[Solid]:
    solids = []
    for label in range(IDS["T1"], IDS["T12"] + 1):
        for side in (-1, 1):
            path = _rib_path(patient, frames[label], label=label, side=side)
            for start, end in pairwise(path):
                solids.append(_rod(patient, start, end, radius_mm=4.2 * patient.scale))
    return solids


def _rib_path(patient: Patient, frame: Frame, *, label: int, side: int) -> list[Vector]:
    number, level, scale = label - IDS["T1"], patient.level(label), patient.scale
    if label <= IDS["T10"]:
        width, depth, length = (scale * size for size in _RIBS[number])
    else:
        width, depth = (scale * size for size in _FLOATING_RIB_SIZE)
        length = scale * patient.last_rib_mm * (_RIB_11_LENGTH if label == IDS["T11"] else 1.0)
    rise = level.height_mm / 2 if label < IDS["T11"] else 0.1 * level.height_mm
    head = frame.to_patient((side * (level.width_mm / 2 + 1), -0.45 * level.depth_mm, rise))
    neck = frame.to_patient((side * (level.transverse_mm + 3), -level.depth_mm / 2 - 15, 0.3 * level.height_mm))
    angle = float(np.arcsin(min((abs(neck[0] - frame.origin[0])) / width, 0.9)))
    centre = np.array([frame.origin[0], neck[1] + depth * np.cos(angle), neck[2]])
    path, travelled, turn = [head, neck], 0.0, angle
    while travelled < length:
        turn += 18.0 / (0.5 * (width + depth))
        drop = scale * (70.0 if label > IDS["T2"] else 40.0) * (turn - angle) / 2.2
        point = centre + np.array([side * width * np.sin(turn), -depth * np.cos(turn), -drop])
        travelled += float(np.linalg.norm(point - path[-1]))
        path.append(point)
    return path


def _rod(patient: Patient, start: Vector, end: Vector, *, radius_mm: float) -> Solid:
    frame = Frame(origin=start, axes=np.eye(3))
    low, high = np.minimum(end - start, 0) - radius_mm - 4, np.maximum(end - start, 0) + radius_mm + 4
    tip = _position(end - start)

    def shape(points: Points) -> Field:
        return capsule(points, start=(0.0, 0.0, 0.0), end=tip, radii_mm=(radius_mm, radius_mm))

    return _bone(patient, shape, frame=frame, box=(_position(low), _position(high)))


def _pelvis(patient: Patient, first: Frame) -> list[Solid]:
    solids, frame, upper = [], first, patient.level(IDS["S1"])
    # S2-S5 shrink and curl forward again below the sacral slope.
    for shrink, curl_deg in ((0.84, 4.0), (0.85, 14.0), (0.82, 22.0), (0.8, 22.0)):
        lower = _shrunk(upper, shrink)
        axes = frame.axes @ turned(pitch_deg=-curl_deg, roll_deg=0, turn_deg=0)
        floor = frame.to_patient((0.0, 0.0, -upper.height_mm / 2 - upper.disc_mm / 2))
        frame = Frame(origin=floor - axes[:, 2] * (lower.height_mm + lower.disc_mm) / 2, axes=axes)
        solids.append(_bone(patient, _sacral(lower), frame=frame, box=vertebra_box(lower)))
        upper = lower
    for side in (-1, 1):
        solids.append(_ilium(patient, first, side=side))
    return solids


def _shrunk(level: Level, factor: float) -> Level:
    return replace(
        level,
        height_mm=level.height_mm * (0.5 + factor / 2),
        width_mm=level.width_mm * factor,
        depth_mm=level.depth_mm * factor,
        canal_width_mm=level.canal_width_mm * factor,
        canal_depth_mm=level.canal_depth_mm * factor,
        transverse_mm=level.transverse_mm * factor,
        spinous_mm=level.spinous_mm * factor,
        spinous_height_mm=level.spinous_height_mm * factor,
        process_mm=level.process_mm * factor,
    )


def _sacral(level: Level) -> Shape:
    return lambda points: sacral_segment(points, level)


def _ilium(patient: Patient, first: Frame, *, side: int) -> Solid:
    # A thick flattened plate through the posterior spine, the crest (at L4/L5) and the hip joint.
    scale = patient.scale
    spine, crest, hip = (
        scale * np.array(point) for point in ((45.0, -46.0, 0.0), (100.0, 6.0, 50.0), (92.0, 22.0, -88.0))
    )
    normal = np.cross(crest - spine, hip - spine)
    across = normal / np.linalg.norm(normal)
    upward = (crest - hip) / np.linalg.norm(crest - hip)
    axes = np.stack([across, np.cross(upward, across), upward], axis=1)
    mirror = np.array([side, 1.0, 1.0])
    centre = (spine + crest + hip) / 3
    frame = Frame(origin=first.origin + mirror * centre, axes=mirror[:, None] * axes)
    radii = (7.5 * scale, 52 * scale, 84 * scale)

    def shape(points: Points) -> Field:
        # The wing is bowed: hollow towards the belly.
        bowed = points[0] - (points[1] ** 2 + points[2] ** 2) * np.float32(0.0012 / scale)
        return ellipsoid((bowed, points[1], points[2]), centre=(0.0, 0.0, 0.0), radii_mm=radii)

    return _bone(patient, shape, frame=frame, box=_centred_box(30 * scale, radii[1] + 5, radii[2] + 5))


def _skull(patient: Patient, frames: dict[int, Frame]) -> list[Solid]:
    scale, atlas = patient.scale, frames[IDS["C1"]]
    radii = (72.0 * scale, 90.0 * scale, 76.0 * scale)
    base = 0.5 * patient.level(IDS["C1"]).height_mm + 7 * scale
    vault = Frame(origin=atlas.origin + np.array([0.0, 12 * scale, base + radii[2]]), axes=np.eye(3))

    def shape(points: Points) -> Field:
        return ellipsoid(points, centre=(0.0, 0.0, 0.0), radii_mm=radii)

    bone = _bone(patient, shape, frame=vault, box=_centred_box(*(radius + 4 for radius in radii)))
    condyles = [
        _rod(
            patient,
            atlas.to_patient((side * 17 * scale, -2.0, base)),
            atlas.to_patient((side * 15 * scale, 4.0, base + 6 * scale)),
            radius_mm=6.5 * scale,
        )
        for side in (-1, 1)
    ]
    return [replace(bone, core_hu=36.0, shell_mm=6.0 * scale), *condyles]


def _centred_box(x: float, y: float, z: float) -> tuple[Position, Position]:
    return (-x, -y, -z), (x, y, z)


def _position(vector: Vector) -> Position:
    x, y, z = (float(part) for part in vector)
    return x, y, z
