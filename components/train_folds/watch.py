"""What a fold in training tells: progress for people, a journal for MLflow, metrics for Prometheus."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from components.train_folds.candidate import STEP
from components.train_folds.telemetry import EpochMetrics, FoldTelemetry
from components.train_folds.utilisation import Utilisation, held_memory_bytes
from model_registry.mlflow_names import KUBEFLOW_RUN_TAG
from spine import progress
from spine.journal import JOURNAL_FILE, Journal, Status
from spine.settings import settings

if TYPE_CHECKING:
    from spine.nnunet.epochs import EpochReport
    from spine.nnunet.trainer import SpineTrainer

_LOG = logging.getLogger(__name__)


class FoldWatch:
    """Tells of one fold from the first of the processes that train it."""

    def __init__(self, folder: Path, *, candidate: str, trainer: "SpineTrainer") -> None:
        self._fold, self._trainer = trainer.fold, trainer
        self._gpu = trainer.device.index if trainer.device.type == "cuda" else None
        self._journal = Journal(folder / JOURNAL_FILE)
        self._telemetry = FoldTelemetry(
            folder, fold=trainer.fold, candidate=candidate, epochs=trainer.num_epochs, resumes=trainer.resumes
        )
        self._utilisation = Utilisation(gpu=self._gpu)
        self._overflows = 0

    def started(self) -> None:
        """Tell what the training needs and when it will be done, after a batch was tried."""
        from spine.nnunet.sanity import forecast

        message = forecast(self._trainer)
        done, epochs = self._trainer.current_epoch, self._trainer.num_epochs
        self._progress(done, epochs, note=message.summary)
        _LOG.info("fold %d: %s", self._fold, message.summary)
        self._telemetry.begins_at(done)
        if settings().run:
            self._journal.tags({KUBEFLOW_RUN_TAG: str(settings().run)})
        self._journal.status("RUNNING")
        self._journal.parameters({"fold": str(self._fold), "weights": str(message.weights)})
        self._journal.tags(
            {
                "device": self._device_name(),
                "resumes": str(self._trainer.resumes),
                "forecast": message.summary,
                "forecast.step_seconds": f"{message.step_seconds:.4g}",
                "forecast.batch_seconds": f"{message.batch_seconds:.4g}",
            }
        )

    def epoch_ended(self, epoch: "EpochReport") -> None:
        """Tell what an epoch came to."""
        left = (epoch.epochs - epoch.epoch) * epoch.seconds / 3600
        note = f"loss {epoch.train_loss:.2f}, pseudo-Dice {epoch.pseudo_dice:.2f}, {epoch.seconds:.0f} s an epoch"
        self._progress(epoch.epoch, epoch.epochs, note=note + (f", {left:.1f} h to go" if left > 0.1 else ""))
        self._journal.metrics({**epoch.metrics(), **self._utilisation.take()}, step=epoch.epoch)
        self._overflows += epoch.gradient_overflows
        self._telemetry.epoch_ended(
            EpochMetrics(
                epoch=epoch.epoch,
                seconds=epoch.seconds,
                loss=epoch.train_loss,
                pseudo_dice=epoch.pseudo_dice,
                gradient_overflows=self._overflows,
                memory_bytes=held_memory_bytes(self._gpu),
            )
        )

    def checkpoint_saved(self) -> None:
        """Tell Prometheus that there is a newer checkpoint."""
        self._telemetry.checkpoint_saved()

    def ended(self, status: Status) -> None:
        """Tell how the training ended."""
        if status == "FINISHED":
            self._telemetry.begins_at(self._trainer.num_epochs)
            self._telemetry.finished()
        self._journal.status(status)
        self._utilisation.close()

    def _progress(self, done: int, epochs: int, *, note: str) -> None:
        progress.report(STEP, f"fold {self._fold}, epoch", done=done, total=epochs, note=note)

    def _device_name(self) -> str:
        import torch

        if self._gpu is None:
            return f"CPU, {torch.get_num_threads()} threads"
        return torch.cuda.get_device_name(self._gpu)
