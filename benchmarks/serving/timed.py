"""Runs a program with a clock around its network: ``timed.py LOG MODULE:FUNCTION ARGUMENTS``."""

import importlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def watch_network(log: Path) -> None:
    """Add a line to ``log`` after each time that a network was run: the seconds it took.

    Only the network's own ``forward`` has a clock: torch's hooks on every module would slow down all of its layers.
    """
    from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet

    lines = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for network in (PlainConvUNet, ResidualEncoderUNet):
        network.forward = _timed(network.forward, lines)


def _timed(forward: Callable[..., Any], lines: int) -> Callable[..., Any]:
    def timed(*given: Any) -> Any:
        began = time.perf_counter()
        output = forward(*given)
        os.write(lines, f"{time.perf_counter() - began}\n".encode())
        return output

    return timed


def network_seconds(log: Path) -> float:
    """Return the seconds that were logged so far."""
    return sum(float(line) for line in log.read_text().splitlines()) if log.is_file() else 0.0


if __name__ == "__main__":
    _, _log, _program, *sys.argv[1:] = sys.argv
    watch_network(Path(_log))
    _module, _, _function = _program.partition(":")
    sys.exit(getattr(importlib.import_module(_module), _function)())
