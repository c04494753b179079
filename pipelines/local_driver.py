"""The process that kfp's local runner lives in: one pipeline run, in a process group that ends as a whole."""

import json
import os
import signal
import sys
from pathlib import Path
from types import FrameType

from spine.workers import signal_after_parent


def main(argv: list[str]) -> int:
    """Run the pipeline that the specification file names; exit 1 where a task failed."""
    _end_with_parent()
    specification = json.loads(Path(argv[0]).read_text(encoding="utf-8"))
    from kfp import local

    from pipelines import promote_approved, roll_back, train_candidate
    from pipelines.profile import load_profile

    profile = load_profile("local")
    builders = {
        train_candidate.NAME: lambda: train_candidate.build(fold_groups=specification["fold_groups"], profile=profile),
        promote_approved.NAME: lambda: promote_approved.build(profile),
        roll_back.NAME: lambda: roll_back.build(profile),
    }
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=specification["outputs"], raise_on_error=True)
    try:
        builders[specification["pipeline"]]()(**specification["arguments"])
    except RuntimeError:
        # The step's own traceback is in the log already; kfp's would only push it out of the tail.
        return 1
    return 0


def _end_with_parent() -> None:
    """End the whole group on SIGTERM, and ask the kernel for one when the parent is gone."""

    def end_group(number: int, _: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)
        os.killpg(0, number)
        # The running step finishes its iteration; the runner would start the next step, so it must not go on.
        os._exit(128 + number)

    signal.signal(signal.SIGTERM, end_group)
    signal.signal(signal.SIGINT, end_group)
    signal_after_parent(signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
