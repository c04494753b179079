"""Where every vertebra stands: frames stacked along the sagittal and coronal curves of one patient."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spine.labels import IDS, MAX_LABEL
from spine.phantom.anatomy import Patient

Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Frame:
    """A vertebra's own axes in patient millimetres: columns of ``axes`` point right, anterior and superior."""

    origin: Vector
    axes: Vector

    def to_patient(self, position: tuple[float, float, float]) -> Vector:
        """Map a position in this frame to patient millimetres, shape (3,)."""
        return np.asarray(self.origin + self.axes @ np.asarray(position), dtype=np.float64)


def turned(*, pitch_deg: float, roll_deg: float, turn_deg: float) -> Vector:
    """Return a rotation (3, 3): pitch > 0 leans forward, roll > 0 leans right, turn is about the long axis."""
    pitch, roll, turn = np.deg2rad([pitch_deg, roll_deg, turn_deg])
    about_right = np.array(
        [[1, 0, 0], [0, np.cos(pitch), np.sin(pitch)], [0, -np.sin(pitch), np.cos(pitch)]], dtype=np.float64
    )
    about_front = np.array(
        [[np.cos(roll), 0, np.sin(roll)], [0, 1, 0], [-np.sin(roll), 0, np.cos(roll)]], dtype=np.float64
    )
    about_long = np.array(
        [[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]], dtype=np.float64
    )
    return np.asarray(about_front @ about_right @ about_long, dtype=np.float64)


def stand(patient: Patient) -> dict[int, Frame]:
    """Return the frame of each label id 1-25, at the body's centre, with S1 at the origin."""
    axes = {
        label: turned(
            pitch_deg=patient.level(label).tilt_deg,
            roll_deg=patient.roll_deg[label - 1],
            turn_deg=patient.turn_deg[label - 1],
        )
        for label in range(1, MAX_LABEL + 1)
    }
    frames = {MAX_LABEL: Frame(origin=np.zeros(3), axes=axes[MAX_LABEL])}
    for label in range(MAX_LABEL - 1, 0, -1):
        lower, upper = patient.level(label + 1), patient.level(label)
        up_lower, up_upper = axes[label + 1][:, 2], axes[label][:, 2]
        step = up_lower * lower.height_mm / 2 + up_upper * upper.height_mm / 2
        step = step + (up_lower + up_upper) / 2 * upper.disc_mm
        frames[label] = Frame(origin=frames[label + 1].origin + step, axes=axes[label])
    return frames


def disc_frame(frames: dict[int, Frame], patient: Patient, *, label: int) -> Frame:
    """Return the frame at the centre of the disc below a vertebra of C2-L5."""
    upper, lower = frames[label], frames[label + 1]
    floor = upper.to_patient((0.0, 0.0, -patient.level(label).height_mm / 2))
    roof = lower.to_patient((0.0, 0.0, patient.level(label + 1).height_mm / 2))
    middle = upper.axes + lower.axes
    left, _, right = np.linalg.svd(middle)
    return Frame(origin=(floor + roof) / 2, axes=left @ right)


HAS_DISC_BELOW = range(IDS["C2"], IDS["L5"] + 1)
