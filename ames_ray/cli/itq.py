"""The verb that fits a binary projection: itq."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn

from ames_ray.card import make_card
from ames_ray.cli.bar import Bar
from ames_ray.cli.outputs import require_own
from ames_ray.cli.tables import facts
from ames_ray.config.address import names_cluster
from ames_ray.errors import ConfigError
from ames_ray.files import Storage, to_json
from ames_ray.retrieval.gallery import Gallery
from ames_ray.training.itq_fit import fit_itq
from ames_ray.training.raw import require_raw
from ames_ray.training.sample import gather, plan_sample, take

if TYPE_CHECKING:
    from rich.console import Console

    from ames_ray.config.itq import ItqConfig
    from ames_ray.training.itq_fit import ItqFit
    from ames_ray.training.sample import SamplePlan
    from ames_ray.types import AnyArray

_HERE_BYTES = 4e9
"""Reading up to this is not worth the start of Ray."""


class ItqDisplay(Bar):
    """Shows how many images are read, then how far the fit is."""

    def __init__(self, console: Console | None = None) -> None:
        super().__init__(
            console,
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[error]}"),
        )
        self._task = self._bar.add_task("images", error="")

    def read(self, done: int, total: int) -> None:
        """Show how much of the sample is there."""
        self._bar.update(self._task, completed=done, total=total)

    def fit(self, iteration: int, total: int, error: float) -> None:
        """Show an iteration."""
        self._bar.update(
            self._task, description="iterations", completed=iteration, total=total, error=f"error {error:.4f}"
        )


def itq(config: ItqConfig) -> None:
    """Fit the projection, write it with its card, and print what it keeps."""
    from ames_ray.model.itq import save_rotation

    require_own(config.output, lambda folder, name: folder.exists(_card_name(name)))
    gallery = Gallery.open([config.store])
    require_raw(gallery)
    width = gallery.stores[0].meta.dim
    if config.bits > width:
        raise ConfigError(f"bits={config.bits}: descriptors of {config.store} are {width} wide, no wider")
    plan = plan_sample(
        gallery.ok,
        config.sample,
        per_image=config.per_image,
        max_desc=min(config.max_desc, gallery.topk),
        seed=config.seed,
    )
    with ItqDisplay() as display:
        sample = _sample(config, gallery, plan, display)
        fit = fit_itq(
            sample,
            config.bits,
            iterations=config.iterations,
            seed=config.seed,
            mean=config.mean,
            report=lambda iteration, error: display.fit(iteration, config.iterations, error),
        )
    result = _Result.of(sample, plan, fit)
    # First: a file without a card is somebody else's.
    _publish_card(config, gallery, result)
    save_rotation(fit.rotation, config.output)
    facts(
        "itq",
        {
            "sample": f"{result.descriptors:,} descriptors of {result.images:,} images",
            "projection": f"{len(fit.rotation):,} numbers to {config.bits:,} bits",
            "PCA keeps": f"{100 * fit.kept:.1f} % of the squared length",
            "error": f"{fit.errors[0]:.4f}, after {config.iterations} iterations {fit.errors[-1]:.4f}",
            "written": config.output,
        },
    )


@dataclass(frozen=True, slots=True)
class _Result:
    images: int
    descriptors: int
    kept: float
    errors: tuple[float, ...]

    @classmethod
    def of(cls, sample: AnyArray, plan: SamplePlan, fit: ItqFit) -> _Result:
        return cls(len(plan.rows), len(sample), fit.kept, fit.errors)


def _sample(config: ItqConfig, gallery: Gallery, plan: SamplePlan, display: ItqDisplay) -> AnyArray:
    """Read the sample, in this process where that is quick."""
    meta = gallery.stores[0].meta
    is_small = len(plan.rows) * meta.row_bytes <= _HERE_BYTES
    if is_small and config.workers is None and not names_cluster(config.address):
        return gather(plan, lambda rows: take(gallery, plan, rows), report=display.read)
    from ames_ray.distributed.itq import gather_with_ray

    return gather_with_ray(gallery, plan, workers=config.workers, address=config.address, report=display.read)


def _publish_card(config: ItqConfig, gallery: Gallery, result: _Result) -> None:
    """Put beside the file what made it."""
    path = Path(config.output)
    settings = {"store": gallery.stores[0].meta.settings, "content": gallery.content_digest}
    card = make_card("itq", config.model_dump(), asdict(result), settings)
    Storage.at(path.parent).publish(_card_name(path.name), to_json(card))


def _card_name(name: str) -> str:
    """Of the card beside a file."""
    return f"{name}.card.json"
