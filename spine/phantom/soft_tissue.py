"""Everything of a patient that is not bone: skin, fat, muscle, discs, lungs, airway, vessels and bowel."""

from itertools import pairwise

import numpy as np

from spine.labels import IDS
from spine.phantom.anatomy import Level, Patient
from spine.phantom.posture import HAS_DISC_BELOW, Frame, Vector, disc_frame
from spine.phantom.rendering import Canvas, Solid
from spine.phantom.shapes import Field, Points, Position, capsule, column, ellipsoid
from spine.phantom.vertebrae import Shape

FAT_HU, MUSCLE_HU, DISC_HU, CORD_HU, LUNG_HU, AIR_HU = -100.0, 52.0, 82.0, 32.0, -850.0, -1000.0

# Body outline at some levels: half width, half depth, and the distance from the body's centre to the back, mm.
_OUTLINE: dict[str, tuple[float, float, float]] = {
    "C1": (76, 95, 82), "C3": (68, 72, 66), "C5": (66, 64, 62), "C7": (88, 66, 66), "T1": (140, 76, 70),
    "T4": (165, 100, 66), "T8": (160, 112, 68), "T12": (150, 108, 74), "L3": (150, 105, 82), "S1": (172, 112, 84),
}  # fmt: skip
_BOWEL_LOOPS = 34


def draw_body(canvas: Canvas, patient: Patient, frames: dict[int, Frame]) -> None:
    """Fill the body's outline with muscle under a rim of fat, over the whole canvas."""
    world = Frame(origin=np.zeros(3), axes=np.eye(3))
    i, j, k = canvas.image.shape
    # Slab by slab: a whole spine's coordinates at once would not stay in the cache.
    for start in range(0, k, 16):
        window = (slice(0, i), slice(0, j), slice(start, min(start + 16, k)))
        x, y, z = canvas.points(frame=world, window=window)
        skin = _skin_distance(x, y, z, patient, frames)
        inside = np.clip(0.5 - skin / canvas.edge_mm, 0, 1)
        lean = np.clip(0.5 - (skin + np.float32(patient.fat_mm)) / canvas.edge_mm, 0, 1)
        tissue = FAT_HU + (MUSCLE_HU - FAT_HU) * lean
        canvas.image[window] = AIR_HU + (tissue - AIR_HU) * inside


def organs(patient: Patient, frames: dict[int, Frame]) -> list[Solid]:
    """Return the soft structures, in the order they are drawn in: cavities first, discs and cord last."""
    return [
        *_lungs(patient, frames),
        *_abdomen(patient, frames),
        *_tube(patient, frames, first="C2", last="T5", hu=AIR_HU, place=(0.0, 17.0), radius_mm=8.0),
        *_tube(patient, frames, first="T5", last="L4", hu=patient.vessel_hu, place=(-9.0, 13.0), radius_mm=10.0),
        *_tube(patient, frames, first="C1", last="L1", hu=CORD_HU, place=None, radius_mm=6.0),
        *_iliac_arteries(patient, frames),
        *_discs(patient, frames),
    ]


def _skin_distance(x: Field, y: Field, z: Field, patient: Patient, frames: dict[int, Frame]) -> Field:
    labels = [IDS[name] for name in _OUTLINE][::-1]
    heights = [frames[label].origin[2] for label in labels]
    girth = patient.scale * patient.girth
    width, depth, back = (girth * np.array(row[::-1]) for row in zip(*_OUTLINE.values(), strict=True))
    # Label 25 is the lowest: reversed, the heights rise, as interpolation asks for.
    sides, fronts, levels = np.stack([frames[label].origin for label in sorted(frames, reverse=True)], axis=1)
    a, b = (np.interp(z, heights, row).astype(np.float32) for row in (width, depth))
    spine = np.interp(z, levels, _smoothed(fronts)).astype(np.float32)
    middle = np.interp(z, levels, sides).astype(np.float32)
    centre = spine - np.interp(z, heights, back).astype(np.float32) + b
    u, v = x - middle, y - centre
    reach = np.sqrt(u * u + v * v) + np.float32(1e-3)
    scaled = np.sqrt((u / a) ** 2 + (v / b) ** 2) + np.float32(1e-4)
    return np.asarray(reach - reach / scaled, dtype=np.float32)


def _smoothed(values: Vector) -> Vector:
    # The back's skin follows the spine's curves only in part.
    return np.asarray(0.5 * values + 0.5 * values.mean(), dtype=np.float64)


def _lungs(patient: Patient, frames: dict[int, Frame]) -> list[Solid]:
    top, bottom = frames[IDS["T1"]].origin, frames[IDS["T11"]].origin
    scale, middle = patient.scale, (top + bottom) / 2
    radii = (58.0 * scale, 84.0 * scale, float(top[2] - bottom[2]) / 2 + 12 * scale)
    centre = middle + np.array([0.0, 40.0 * scale, 0.0])
    return [_blob(centre + np.array([side * 76.0 * scale, 0.0, 0.0]), radii, hu=LUNG_HU) for side in (-1, 1)]


def _abdomen(patient: Patient, frames: dict[int, Frame]) -> list[Solid]:
    random, scale = np.random.default_rng(patient.organ_seed), patient.scale
    top, bottom = frames[IDS["T12"]].origin, frames[IDS["S1"]].origin
    centre = (top + bottom) / 2 - np.array([0.0, 0.0, 20.0 * scale])
    # The lordosis pushes L3 forward: the cavity's back wall follows it.
    centre[1] = frames[IDS["L3"]].origin[1] + 71.0 * scale
    half = float(top[2] - bottom[2]) / 2 + 45 * scale
    solids = [_blob(centre, (108.0 * scale, 72.0 * scale, half), hu=FAT_HU)]
    for side in (-1, 1):
        kidney = frames[IDS["L2"]].origin + scale * np.array([side * 62.0, 2.0, 8.0 + 6.0 * side])
        solids.append(_blob(kidney, (32.0 * scale, 30.0 * scale, 60.0 * scale), hu=FAT_HU))
        solids.append(_blob(kidney, (23.0 * scale, 21.0 * scale, 50.0 * scale), hu=38 + 0.5 * patient.vessel_hu))
        psoas = [
            frames[IDS[name]].to_patient((side * scale * out, scale * ahead, 0.0))
            for name, out, ahead in (("T12", 24.0, 0.0), ("L3", 38.0, 4.0), ("S1", 54.0, 34.0))
        ]
        for start, end, (thin, thick) in zip(psoas, psoas[1:], ((7.0, 17.0), (17.0, 23.0)), strict=False):
            solids.append(_rod(start, end, radii_mm=(thin * scale, thick * scale), hu=MUSCLE_HU + 6))
    for _ in range(_BOWEL_LOOPS):
        place = centre + random.uniform(-1, 1, 3) * scale * np.array([85.0, 34.0, half / scale - 30])
        place[1] += 26.0
        size = random.uniform(10, 20, 3) * scale
        solids.append(_blob(place, (size[0], size[1], size[2]), hu=float(random.choice([25.0, 40.0, 60.0]))))
        if random.random() < 0.3:
            solids.append(_blob(place + np.array([0, 4, 0]), (size[0] * 0.6, size[1] * 0.5, size[2] * 0.6), hu=AIR_HU))
    return solids


def _tube(
    patient: Patient,
    frames: dict[int, Frame],
    *,
    first: str,
    last: str,
    hu: float,
    place: tuple[float, float] | None,
    radius_mm: float,
) -> list[Solid]:
    path = []
    for label in range(IDS[first], IDS[last] + 1):
        level = patient.level(label)
        if place is None:
            side, ahead = 0.0, -(level.depth_mm + level.canal_depth_mm) / 2
        else:
            side, ahead = place[0], level.depth_mm / 2 + place[1]
        path.append(frames[label].to_patient((side, ahead, 0.0)))
    radius = radius_mm * patient.scale
    return [_rod(start, end, radii_mm=(radius, radius), hu=hu) for start, end in pairwise(path)]


def _iliac_arteries(patient: Patient, frames: dict[int, Frame]) -> list[Solid]:
    # The aorta forks in front of L4, a landmark that radiologists count from.
    fork, end, radius = frames[IDS["L4"]], frames[IDS["S1"]], 6.5 * patient.scale
    start = fork.to_patient((-9.0, patient.level(IDS["L4"]).depth_mm / 2 + 13.0, 0.0))
    goals = [end.to_patient((side * 42.0 * patient.scale, 40.0 * patient.scale, 0.0)) for side in (-1, 1)]
    return [_rod(start, goal, radii_mm=(radius, radius), hu=patient.vessel_hu) for goal in goals]


def _discs(patient: Patient, frames: dict[int, Frame]) -> list[Solid]:
    solids = []
    for label in HAS_DISC_BELOW:
        upper, lower = patient.level(label), patient.level(label + 1)
        reach = lower.width_mm / 2 + 5
        solids.append(
            Solid(
                shape=_disc_shape(upper, lower),
                frame=disc_frame(frames, patient, label=label),
                low_mm=(-reach, -reach, -upper.disc_mm - 4),
                high_mm=(reach, reach, upper.disc_mm + 4),
                core_hu=DISC_HU,
            )
        )
    return solids


def _disc_shape(upper: Level, lower: Level) -> Shape:
    # A little narrower than the endplates, and tall enough to fill their hollows.
    return lambda points: column(
        points,
        width_mm=0.48 * (upper.width_mm + lower.width_mm),
        depth_mm=0.48 * (upper.depth_mm + lower.depth_mm),
        height_mm=upper.disc_mm + 4.0,
    )


def _blob(centre: Vector, radii_mm: Position, *, hu: float) -> Solid:
    x, y, z = (float(radius) + 5 for radius in radii_mm)

    def shape(points: Points) -> Field:
        return ellipsoid(points, centre=(0.0, 0.0, 0.0), radii_mm=radii_mm)

    frame = Frame(origin=centre, axes=np.eye(3))
    return Solid(shape=shape, frame=frame, low_mm=(-x, -y, -z), high_mm=(x, y, z), core_hu=hu)


def _rod(start: Vector, end: Vector, *, radii_mm: tuple[float, float], hu: float) -> Solid:
    x, y, z = (float(part) for part in end - start)
    reach = max(radii_mm) + 5

    def shape(points: Points) -> Field:
        return capsule(points, start=(0.0, 0.0, 0.0), end=(x, y, z), radii_mm=radii_mm)

    return Solid(
        shape=shape,
        frame=Frame(origin=start, axes=np.eye(3)),
        low_mm=(min(x, 0) - reach, min(y, 0) - reach, min(z, 0) - reach),
        high_mm=(max(x, 0) + reach, max(y, 0) + reach, max(z, 0) + reach),
        core_hu=hu,
    )
