"""Figures without pyplot: sized in pixels, and written as small PNG bytes that are the same on every run."""

import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

DPI = 100
_BYTES = 300_000


class Sheet:
    """A white figure of ``width`` by ``height`` pixels, on which axes are placed from the top left corner.

    ``density`` draws it with that many pixels to each of these: charts of 2 stay sharp in print.
    """

    def __init__(self, *, width: float, height: float, density: int = 1) -> None:
        self.width, self.height = round(width), round(height)
        size = (self.width / DPI, self.height / DPI)
        self.figure = Figure(figsize=size, dpi=DPI * density, facecolor="white")
        self._canvas = FigureCanvasAgg(self.figure)

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Return axes with their corner at (left, top), all in pixels."""
        bottom = self.height - top - height
        return self.figure.add_axes((left / self.width, bottom / self.height, width / self.width, height / self.height))

    def png(self) -> bytes:
        """Return the drawing as a PNG with a palette; colours are given up before it outgrows 300 kB."""
        self._canvas.draw()
        picture = Image.fromarray(np.asarray(self._canvas.buffer_rgba())[..., :3].copy())
        content = b""
        for colours in (256, 128, 64, 32):
            content = _encoded(picture, colours)
            if len(content) <= _BYTES:
                break
        return content


def _encoded(picture: Image.Image, colours: int) -> bytes:
    buffer = io.BytesIO()
    picture.quantize(colours, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
        buffer, format="PNG", optimize=True
    )
    return buffer.getvalue()
