"""The verb that trains a detector: train_detector."""

from __future__ import annotations

import posixpath
import sys
from collections import deque
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn

from ames_ray.card import make_card
from ames_ray.cli.bar import Bar
from ames_ray.cli.device import local_device
from ames_ray.cli.display import duration
from ames_ray.cli.tables import facts
from ames_ray.config.inputs import keep_inputs
from ames_ray.config.options import dataset_options, read_options
from ames_ray.datasets.registry import build_manifest
from ames_ray.files import Storage, to_json
from ames_ray.training.detector import save_detector
from ames_ray.training.detector_loop import DetectorOptions, deciding, fit_detector
from ames_ray.training.frozen_maps import FrozenMaps, MapOptions
from ames_ray.training.landmark_batches import LandmarkBatches
from ames_ray.training.output import CARD, DETECTOR, DETECTOR_RUN, require_no_store, run_files
from ames_ray.training.sampler import label_numbers

if TYPE_CHECKING:
    from rich.console import Console

    from ames_ray.config.train_detector import TrainDetectorConfig
    from ames_ray.datasets.manifest import Manifest
    from ames_ray.training.detector_loop import DetectorStep

_RECENT = 50


class DetectorDisplay(Bar):
    """Shows a running training: a live bar on a terminal, a line now and then in a log.

    Args:
        steps: Steps of the whole run.
        console: Where to show it; stderr by default, so that results alone go to stdout.
    """

    def __init__(self, steps: int, console: Console | None = None) -> None:
        words = TextColumn("{task.fields[words]}")
        super().__init__(console, TextColumn("train_detector"), BarColumn(), MofNCompleteColumn(), words)
        self._steps = steps
        self._task = self._bar.add_task("steps", total=steps, words="")
        self._recent: deque[DetectorStep] = deque(maxlen=_RECENT)
        self.failed = 0

    def __call__(self, step: DetectorStep) -> None:
        """Show a step."""
        self._recent.append(step)
        self.failed += step.failed
        words = self.words()
        self._bar.update(self._task, completed=step.step, words=words)
        self._log(f"train_detector {step.step:,}/{self._steps:,}  {words}", always=step.step == self._steps)

    def words(self) -> str:
        """Means over the last steps."""
        last, count = self._recent[-1], len(self._recent)
        told = [step for step in self._recent if step.loss == step.loss]
        seconds = sum(step.seconds for step in self._recent)
        parts = [f"lr {last.lr:.1e}", f"{count / max(seconds, 1e-9):.1f} steps/s"]
        if told:
            nearest = sum(step.nearest for step in told) / len(told)
            loss = sum(step.loss for step in told) / len(told)
            parts = [f"loss {loss:.3f}", f"nearest right {100 * nearest:.0f} %", *parts]
        parts.append(f"waiting {100 * sum(step.waited for step in self._recent) / max(seconds, 1e-9):.0f} %")
        if self.failed:
            parts.append(f"{self.failed:,} unreadable")
        if left := self._steps - last.step:
            parts.append(f"ETA {duration(seconds / count * left)}")
        return "  ".join(parts)

    @property
    def last(self) -> DetectorStep | None:
        """The last step of this run, if it did any."""
        return self._recent[-1] if self._recent else None


def train_detector(config: TrainDetectorConfig) -> None:
    """Train a detector and write it, with its log and its card."""
    manifest = build_manifest(dataset_options(config))
    for note in manifest.notes:
        print(note, file=sys.stderr)  # noqa: T201
    batches = LandmarkBatches(
        label_numbers(_labels(config, manifest)),
        landmarks=config.landmarks,
        images=config.landmark_images,
        seed=config.seed,
    )
    device = local_device(config.device)
    source = FrozenMaps(manifest, _map_options(config), device)
    options = DetectorOptions(**{name: getattr(config, name) for name in asdict(DetectorOptions())})
    output = Storage.at(config.output)
    with output.own("ames-ray train_detector"), DetectorDisplay(config.steps) as display:
        require_no_store(output)
        keep_inputs(config, output, run_files(output, DETECTOR_RUN))
        settings = {
            "extraction": dict(source.settings),
            "read": asdict(read_options(config)),
            "images": manifest.digest,
            "landmarks": config.landmarks,
            "landmark_images": config.landmark_images,
        }
        detector = fit_detector(
            source,
            batches,
            options,
            output,
            settings=settings,
            anew=config.overwrite,
            device=device,
            threads=config.decode_threads,
            report=display,
        )
        save_detector(detector, output, DETECTOR)
        result = {"landmarks": batches.landmarks, "pictures": batches.pictures}
        card = make_card("train_detector", config.model_dump(), result, deciding(options, settings))
        output.publish(CARD, to_json(card))
    facts("train_detector", _told(config, batches, display))


def _told(config: TrainDetectorConfig, batches: LandmarkBatches, display: DetectorDisplay) -> dict[str, str]:
    done = display.words() if display.last else "nothing to do: the run is complete"
    return {
        "pictures": f"{batches.pictures:,} of {batches.landmarks:,} landmarks",
        "steps": f"{config.steps:,}",
        "last": done,
        "written": f"{config.output}/{DETECTOR}",
        "use": f"ames-ray extract backbone={config.backbone} detector={config.output}/{DETECTOR} …",
    }


def _labels(config: TrainDetectorConfig, manifest: Manifest) -> list[str | None]:
    """The landmark of each picture: of its line, or in a folder of pictures the folder that it lies in."""
    if config.dataset != "folder":
        return [record.label for record in manifest]
    return [posixpath.dirname(record.uri.removeprefix(f"{manifest.root}/")) or None for record in manifest]


def _map_options(config: TrainDetectorConfig) -> MapOptions:
    return MapOptions(
        backbone=config.backbone,
        weights=config.weights,
        imsize=config.imsize,
        precision=config.precision,
        truncated=config.truncated,
        max_pixels=config.max_pixels,
    )
