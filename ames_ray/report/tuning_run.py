"""What `ames-ray tune` left in a folder, read back for people: the best, the trials, the landscape again."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ames_ray.errors import AmesError, DatasetError
from ames_ray.evaluation.ensemble import Ensemble
from ames_ray.evaluation.reranked import RerankedEvaluation
from ames_ray.evaluation.score_files import load_pair_scores
from ames_ray.files import Storage
from ames_ray.report.use_it import evaluate_command, train_command
from ames_ray.tuning.exact import grid_of
from ames_ray.tuning.grid import evaluate_grid
from ames_ray.tuning.space import Parameter, Space

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ames_ray.evaluation.scores import PairScores, Shortlist
    from ames_ray.retrieval.benchmark import Benchmark
    from ames_ray.tuning.grid import GridTable

RESULT, TRIALS, RECIPE_FILE = "result.json", "trials.csv", "recipe.yaml"
SETTING = ("lamb", "temp", "num_rerank")
_CLOSE = 1e-12
_TEXTS = ("state", "known", "reason", "model", "run")


@dataclass(frozen=True, slots=True, eq=False)
class TuningRun:
    """The result of a search.

    Attributes:
        folder: Where it lies; the scores lie in the folder around it.
        document: Content of its result file.
        trials: A row a trial, in order; empty where none were made.
    """

    folder: Storage
    document: Mapping[str, Any]
    trials: list[dict[str, Any]]

    @classmethod
    def read(cls, uri: str) -> Self:
        """Read the folder of a search.

        Raises:
            DatasetError: It is no result of `ames-ray tune`.
        """
        folder = Storage.at(uri)
        try:
            document = json.loads(folder.read(RESULT))
            whole = isinstance(document["best"], dict) and isinstance(document["card"]["config"], dict)
            text = folder.read(TRIALS).decode() if folder.exists(TRIALS) else ""
            trials = [_typed(row) for row in csv.DictReader(io.StringIO(text))]
        except (ValueError, KeyError, TypeError):
            whole = False
        if not whole:
            raise DatasetError(
                f"{uri} is no result of `ames-ray tune`", "pass the folder with its result.json"
            )
        return cls(folder, document, trials)

    @property
    def name(self) -> str:
        """Of the sweep."""
        return self.folder.uri.rstrip("/").rpartition("/")[2]

    @property
    def figure(self) -> str:
        """What was raised."""
        return str(self.document["figure"])

    @property
    def best(self) -> Mapping[str, Any]:
        """The setting to use, with its `value`."""
        found: Mapping[str, Any] = self.document["best"]
        return found

    @property
    def of_training(self) -> bool:
        """Whether each trial trained a network."""
        return "recipe" in self.document

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of what was searched, λ, γ and K first."""
        space: Mapping[str, Mapping[str, Any]] = self.document["card"]["settings"]["space"]
        names = [name for name, shown in space.items() if len(shown.get("choice", "ab")) > 1]
        return tuple(sorted(names, key=lambda name: SETTING.index(name) if name in SETTING else len(SETTING)))

    @property
    def command(self) -> str:
        """What to type to use the best."""
        if self.of_training:
            return train_command(self.config, self.folder.address(RECIPE_FILE))
        return evaluate_command(self.config, self.best)

    def reached(self, row: Mapping[str, Any]) -> bool:
        """Whether a trial has a figure: also a run of training that was stopped early has one."""
        value = row.get(self.figure)
        return row["state"] != "failed" and value is not None and math.isfinite(value)

    @property
    def exact(self) -> Mapping[str, Any] | None:
        """The exact optimum, or none."""
        found: Mapping[str, Any] | None = self.document.get("exact")
        return found

    @property
    def front(self) -> list[dict[str, Any]]:
        """Settings that nothing beats; empty where one figure was raised alone."""
        return list(self.document.get("front", []))

    @property
    def config(self) -> Mapping[str, Any]:
        """The settings of the run."""
        found: Mapping[str, Any] = self.document["card"]["config"]
        return found


def grid_again(run: TuningRun) -> GridTable:
    """The grid behind the exact optimum, from the ranking and the scores that the search kept.

    Which of several they are is told by what they give for the optimum.

    Raises:
        DatasetError: They are not there any more, or there is no exact optimum.
        AmesError: The ground truth cannot be read.
    """
    from ames_ray.retrieval.benchmark import Benchmark

    if run.exact is None:
        raise DatasetError("the search has no exact optimum: its space has costs or conditions")
    benchmark = Benchmark.read(run.config["ground_truth"], run.config.get("protocol"))
    grid = grid_of(_space(run.document["card"]["settings"]["space"]))
    optimum = Ensemble(*(run.exact[name] for name in SETTING))
    largest = max(*grid.num_rerank, optimum.num_rerank)
    for shortlist, scores in _kept(run, benchmark):
        try:
            evaluation = RerankedEvaluation(benchmark.protocol, shortlist, scores, largest)
        except AmesError:
            continue
        if abs(evaluation(optimum).figures[run.figure] - run.exact["value"]) < _CLOSE:
            return evaluate_grid(evaluation, grid)
    raise DatasetError(
        "the ranking and the scores of this search are not in the folder around it any more",
        "run the same command again: what is there is not made again",
    )


def _kept(run: TuningRun, benchmark: Benchmark) -> Iterator[tuple[Shortlist, PairScores]]:
    """Rankings and scores that may be those of the optimum, the largest scores first."""
    from ames_ray.retrieval.kept import read_shortlist

    around, _ = Storage.of_file(run.folder.uri)
    config, budget = run.config, run.exact or {}

    def files(given: str | None, prefix: str) -> list[str]:
        return [given] if given else [around.address(n) for n in around.names() if n.startswith(prefix)]

    def size(scores: PairScores) -> tuple[int, int]:
        return scores.query_desc_num, scores.db_desc_num

    rankings = [read_shortlist(uri) for uri in files(config.get("nn_file"), "neighbors-")]
    scored = [load_pair_scores(uri) for uri in files(config.get("scores"), "scores-")]
    # Stores that keep fewer descriptors than asked for lower the sizes.
    for ranking, scores in product(rankings, sorted(scored, key=size, reverse=True)):
        if all(np.less_equal(size(scores), (budget["query_desc_num"], budget["db_desc_num"]))):
            yield benchmark.queries_of(ranking), scores


def _space(plain: Mapping[str, Mapping[str, Any]]) -> Space:
    """λ, γ and K of a space that a card holds."""
    return Space(tuple(_parameter(name, plain[name]) for name in SETTING))


def _parameter(name: str, shown: Mapping[str, Any]) -> Parameter:
    if "choice" in shown:
        return Parameter(name, "choice", values=tuple(shown["choice"]))
    kind: Any = "int" if "int" in shown else "float"
    low, high = shown[kind]
    return Parameter(name, kind, low, high, bool(shown.get("log")))


def _typed(row: Mapping[str, str]) -> dict[str, Any]:
    """A line of the table of trials; an empty cell is none."""
    return {name: text if name in _TEXTS else _number(text) for name, text in row.items()}


def _number(text: str) -> float | str | None:
    """A number, or a word of a list of choices."""
    try:
        return float(text) if text else None
    except ValueError:
        return text
