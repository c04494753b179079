"""What lies farther beside the spine than a vertebra can."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from spine.postprocessing.centre_line import Placement, place
from spine.postprocessing.outlines import Outlines

_OFF_PITCH: Final = 1.2  # right ones that the border leaves whole lie within half a pitch
_OFF_CUT_PITCH: Final = 2.0  # its remains are a rim or a transverse process, up to 1.7 pitches from the line
_LINE_SHARE: Final = 0.5


def off_spine(bodies: Outlines, where: Placement) -> NDArray[np.bool_]:
    """Mark those of n bodies, placed along their own line, that lie too far beside it, shape (n,).

    They still do once the line goes through the rest only, which must be most of the bone: else none is marked.
    """
    off = _is_beside(bodies, where)
    if not off.any() or bodies.mm3[~off].sum() <= _LINE_SHARE * bodies.mm3.sum():
        return np.zeros(len(bodies), dtype=np.bool_)
    return _is_beside(bodies, place(bodies, line_of=bodies.some(~off)))


def _is_beside(bodies: Outlines, where: Placement) -> NDArray[np.bool_]:
    forward = np.array([0.0, 1.0, 0.0]) - where.directions[:, 1:2] * where.directions
    forward /= np.maximum(np.linalg.norm(forward, axis=1, keepdims=True), 1e-6)
    ahead = (where.aside_mm * forward).sum(axis=1)
    # Of a vertebra that the border cuts the process may be all that is in view, far behind the line.
    cut = bodies.cut_above | bodies.cut_below
    excused = np.where(cut, np.minimum(ahead, 0.0), 0.0)
    aside = where.aside_mm - excused[:, None] * forward
    limit = np.where(cut, _OFF_CUT_PITCH, _OFF_PITCH) * where.pitch_mm
    return np.asarray(np.linalg.norm(aside, axis=1) > limit, dtype=np.bool_)
