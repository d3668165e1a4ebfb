"""The verbs of `ames-ray`, as names only, so that `ames-ray --help` imports none of them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ames_ray.config.jobs import JobConfig


@dataclass(frozen=True, slots=True)
class Verb:
    """One command.

    Attributes:
        purpose: One sentence for the help.
        config: "module:class" of its settings.
        function: "module:function" that runs it and prints its result.
        kinds: Words with which it has other settings.
        resumes: Whether a run that was cut off left something that the same command goes on from.
    """

    purpose: str
    config: str
    function: str
    kinds: tuple[str, ...] = ()
    resumes: bool = False

    def load_config(self, words: Sequence[str] = ()) -> type[JobConfig]:
        """The class of the settings, for a command with these words."""
        job: type[JobConfig] = _load(self.config)
        return job.for_words(words)

    def load_function(self) -> Callable[[Any], object]:
        """The function that runs the verb; what it returns is for callers in Python."""
        function: Callable[[Any], object] = _load(self.function)
        return function


_CONFIG = "ames_ray.config"
_CLI = "ames_ray.cli"

GROUPS = {
    "Search your own photos": {
        "demo": Verb(
            "Go from real photos to searches, figures and their pages, and say what to try next.",
            f"{_CONFIG}.demo:DemoConfig",
            f"{_CLI}.demo:demo",
            resumes=True,
        ),
        "extract": Verb(
            "Turn images into a store of local and global descriptors.",
            f"{_CONFIG}.extract:ExtractConfig",
            f"{_CLI}.images:extract",
            resumes=True,
        ),
        "search": Verb(
            "Search a store with your own photo, and show what was found and why on one page.",
            f"{_CONFIG}.search:SearchConfig",
            f"{_CLI}.search:search",
        ),
        "serve": Verb(
            "Answer searches over HTTP: a page to drop a photo on, and JSON for programs.",
            f"{_CONFIG}.serve:ServeConfig",
            f"{_CLI}.serve:serve",
        ),
        "check": Verb(
            "Find missing, duplicate and unreadable images before a GPU is used.",
            f"{_CONFIG}.extract:CheckConfig",
            f"{_CLI}.images:check",
        ),
        "plan": Verb(
            "Say how many shards, bytes and hours an extraction takes, and whether it fits.",
            f"{_CONFIG}.extract:PlanConfig",
            f"{_CLI}.images:plan",
        ),
        "samples": Verb(
            "Fetch real photos to try things on, from packages.",
            f"{_CONFIG}.demo:SamplesConfig",
            f"{_CLI}.samples:samples",
        ),
    },
    "Rank and measure": {
        "neighbors": Verb(
            "Find the nearest gallery images of every query by global descriptor.",
            f"{_CONFIG}.retrieval:NeighborsConfig",
            f"{_CLI}.neighbors:neighbors",
        ),
        "score": Verb(
            "Score the pairs of a shortlist with a re-ranking network.",
            f"{_CONFIG}.retrieval:ScoreConfig",
            f"{_CLI}.score:score",
            resumes=True,
        ),
        "evaluate": Verb(
            "Measure mAP of a ranking, before and after re-ranking, for any sweep of settings.",
            f"{_CONFIG}.retrieval:EvaluateConfig",
            f"{_CLI}.evaluate:evaluate",
            resumes=True,
        ),
    },
    "Train and tune": {
        "train": Verb(
            "Train an AMES network, full precision, or binary by distillation; again: go on.",
            f"{_CONFIG}.train:TrainConfig",
            f"{_CLI}.train:train",
            resumes=True,
        ),
        "itq": Verb(
            "Fit the projection that a binary network starts from.",
            f"{_CONFIG}.itq:ItqConfig",
            f"{_CLI}.itq:itq",
        ),
        "train_detector": Verb(
            "Train a detector for a backbone: which places count.",
            f"{_CONFIG}.train_detector:TrainDetectorConfig",
            f"{_CLI}.train_detector:train_detector",
            resumes=True,
        ),
        "tune": Verb(
            "Find the best λ, γ and K, the best figures for the fewest bytes, or settings of training.",
            f"{_CONFIG}.tune:TuneConfig",
            f"{_CLI}.tune:tune",
            kinds=("sweep=training",),
            resumes=True,
        ),
    },
    "Look at results": {
        "report": Verb(
            "Write a page about an evaluation: figures, curves, sweep, the worst queries first.",
            f"{_CONFIG}.report:ReportConfig",
            f"{_CLI}.report:report",
        ),
        "compare": Verb(
            "Say which choices differ between two evaluations, and what they did to every query.",
            f"{_CONFIG}.report:CompareConfig",
            f"{_CLI}.report:compare",
        ),
    },
    "Stores and clusters": {
        "store info": Verb(
            "Describe a store: rows, failures, bytes, settings.",
            f"{_CONFIG}.store:InfoConfig",
            f"{_CLI}.store:info",
        ),
        "store verify": Verb(
            "Read every shard again and compare it with its hash.",
            f"{_CONFIG}.store:VerifyConfig",
            f"{_CLI}.store:verify",
        ),
        "store retry": Verb(
            "Redo the failed rows of a store, and only those.",
            f"{_CONFIG}.store:RetryConfig",
            f"{_CLI}.images:retry",
            resumes=True,
        ),
        "store project": Verb(
            "Turn raw descriptors into what a database stores: 128 numbers or bits each.",
            f"{_CONFIG}.store:ProjectConfig",
            f"{_CLI}.store:project",
            resumes=True,
        ),
        "store merge": Verb(
            "Join stores that were made with equal settings.",
            f"{_CONFIG}.store:MergeConfig",
            f"{_CLI}.store:merge",
            resumes=True,
        ),
        "store import": Verb(
            "Turn the authors' HDF5 files into a store.",
            f"{_CONFIG}.store:ImportConfig",
            f"{_CLI}.store:import_",
            resumes=True,
        ),
        "store export": Verb(
            "Write a store as the authors' HDF5 files, or as one packed file.",
            f"{_CONFIG}.store:ExportConfig",
            f"{_CLI}.store:export",
        ),
        "cluster check": Verb(
            "Look at every node of a Ray cluster: versions, GPUs, shared storage, clocks.",
            f"{_CONFIG}.cluster:ClusterCheckConfig",
            f"{_CLI}.cluster:check",
        ),
    },
}
"""Verbs by what a user wants, in the order in which that comes up."""
VERBS = {name: verb for verbs in GROUPS.values() for name, verb in verbs.items()}


def _load(name: str) -> Any:
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)
