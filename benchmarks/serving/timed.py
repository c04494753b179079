"""Runs a program with a clock around its network: ``timed.py LOG MODULE:FUNCTION ARGUMENTS``."""

import importlib
import sys
import time
from pathlib import Path
from typing import Any


def watch_network(log: Path) -> None:
    """Add a line to ``log`` after each time that a network was run: the seconds it took."""
    from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
    from torch.nn.modules import module

    began = 0.0

    def before(called: Any, _inputs: Any) -> None:
        nonlocal began
        if isinstance(called, PlainConvUNet | ResidualEncoderUNet):
            began = time.perf_counter()

    def after(called: Any, _inputs: Any, _output: Any) -> None:
        if isinstance(called, PlainConvUNet | ResidualEncoderUNet):
            with log.open("a") as stream:
                stream.write(f"{time.perf_counter() - began}\n")

    module.register_module_forward_pre_hook(before)
    module.register_module_forward_hook(after)


def network_seconds(log: Path) -> float:
    """Return the seconds that were logged so far."""
    return sum(float(line) for line in log.read_text().splitlines()) if log.is_file() else 0.0


if __name__ == "__main__":
    _, _log, _program, *sys.argv[1:] = sys.argv
    watch_network(Path(_log))
    _module, _, _function = _program.partition(":")
    sys.exit(getattr(importlib.import_module(_module), _function)())
