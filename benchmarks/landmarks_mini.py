r"""Baselines of `landmarks_mini` and, if weights are given, AMES beside them, in one table.

    ames-ray samples set=landmarks_mini output=data/landmarks_mini
    for split in val_query val_gallery test_query test_gallery; do
        ames-ray extract dataset=landmarks_mini split=$split data_root=data/landmarks_mini topk=300 \
            output=data/stores/$split
    done
    python -m benchmarks.landmarks_mini data/landmarks_mini data/stores
    python -m benchmarks.landmarks_mini data/landmarks_mini data/stores --descriptors 100 --num-rerank 100 \
        --model runs/full0/last.safetensors runs/full1/last.safetensors runs/full2/last.safetensors

Every setting (ratio, λ, γ) is chosen on the validation scenes, by the mean of medium and hard, and reported
on the test scenes; a network also with λ and γ as they are before tuning. `bytes` are what a database keeps
of the local descriptors of an image. Intervals are 95 % over scenes: a scene's queries of all seeds are drawn
together. Folders of weights whose names differ by a number at the end are training seeds of one network.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ames_ray.cli.tune_scores import descriptor_bytes
from ames_ray.evaluation.candidates import candidates
from ames_ray.evaluation.ensemble import Ensemble
from ames_ray.evaluation.reranked import RerankedEvaluation
from ames_ray.evaluation.scores import PairScores, Shortlist
from ames_ray.model.mutual_reranker import mutual_ratios
from ames_ray.model.reranker import Reranker, load_reranker
from ames_ray.retrieval.benchmark import Benchmark
from ames_ray.retrieval.gallery import Gallery
from ames_ray.retrieval.neighbors import find_neighbors
from ames_ray.retrieval.pieces import score_pairs
from ames_ray.retrieval.scoring import PairScorer, ScoreOptions
from benchmarks.record import save
from benchmarks.seeds import over_seeds

RATIOS = tuple(np.round(np.arange(0.5, 0.96, 0.05), 2).tolist())
LAMBS = tuple(np.round(np.arange(0, 1.01, 0.05), 2).tolist())
TIERS = ("medium", "hard", "crossphoto", "pairs")
TUNED_ON = ("medium", "hard")
RESAMPLES = 10_000
COUNT_TEMP = 0.005
"""γ that keeps the sigmoid of some hundred matches away from 1, so that no two counts fall together."""
UNTUNED = (0.5, 0.5)
"""λ and γ where nobody tuned them."""
COUNT_TEMPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
LOGIT_TEMPS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)

Values = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Split:
    """Queries and gallery of a split, with the global ranking.

    Attributes:
        benchmark: Ground truth of all tiers and seeds.
        query: Store of the queries.
        gallery: The gallery.
        shortlist: All gallery images of each query, by global similarity.
        pairs: The pairs that re-ranking needs.
        tier: (Q,) tier of each query.
        seed: (Q,) seed, -1 where there is none.
        scene: (Q,) number of the scene.
    """

    benchmark: Benchmark
    query: Gallery
    gallery: Gallery
    shortlist: Shortlist
    pairs: Shortlist
    tier: NDArray[np.str_]
    seed: NDArray[np.int64]
    scene: NDArray[np.int64]

    @classmethod
    def open(cls, photos: Path, stores: Path, name: str, deepest: int) -> Split:
        """Read one."""
        benchmark = Benchmark.read(str(photos / f"gnd_{name}.json"))
        query, gallery = (Gallery.open([str(stores / f"{name}_{part}")]) for part in ("query", "gallery"))
        benchmark.check(query, gallery)
        shortlist = find_neighbors(query.stores[0], gallery, "global", None)
        words = [Path(record.image_id).stem.split("-") for record in query.records()]
        made_up = [word[-1].isdecimal() for word in words]
        labels = [str(record.label) for record in query.records()]
        known = {label: number for number, label in enumerate(dict.fromkeys(labels))}
        return cls(
            benchmark,
            query,
            gallery,
            shortlist,
            candidates(benchmark.protocol, shortlist, deepest),
            np.array([word[-2] if made else word[-1] for word, made in zip(words, made_up, strict=True)]),
            np.array([int(word[-1]) if made else -1 for word, made in zip(words, made_up, strict=True)]),
            np.array([known[label] for label in labels]),
        )

    def scored(self, logits: NDArray[np.float32]) -> RerankedEvaluation:
        """The benchmark with logits of its `pairs`."""
        scores = PairScores(self.pairs.rows, logits, "", 0, 0)
        depth = int(self.pairs.settings["num_rerank"])
        return RerankedEvaluation(self.benchmark.protocol, self.shortlist, scores, depth)

    def tuned_on(self, precisions: Values) -> float:
        """What settings are chosen by."""
        return float(np.mean([precisions[self.tier == tier].mean() for tier in TUNED_ON]))


def precisions(evaluation: RerankedEvaluation, lamb: float, temp: float, num_rerank: int) -> Values:
    """(Q,) average precision of each query, in percent."""
    found: Values = 100 * evaluation(Ensemble(lamb, temp, num_rerank)).per_query["medium"]
    return found


def positives(split: Split) -> NDArray[np.float32]:
    """Logits of perfect re-ranking."""
    setup = next(setup for setup in split.benchmark.protocol.setups if setup.name == "medium")
    rows = zip(split.pairs.rows, setup.positives, strict=True)
    return np.stack([np.isin(line, wanted) for line, wanted in rows]).astype(np.float32)


def matches(split: Split, count: int) -> dict[float, NDArray[np.float32]]:
    """Logits by ratio: matches of each pair, of the strongest `count` descriptors a side."""
    found = {ratio: np.full(split.pairs.rows.shape, np.nan, np.float32) for ratio in RATIOS}
    for query, line in enumerate(split.pairs.rows):
        held = np.flatnonzero(line >= 0)
        own = split.query.read([query], count)
        images = split.gallery.read(line[held], count)
        ratios = mutual_ratios(
            own.descriptors[0][own.valid[0]].astype(np.float32),
            images.descriptors.astype(np.float32),
            images.valid,
        )
        for ratio, logits in found.items():
            logits[query, held] = (ratios < ratio).sum(1)
    return found


def network(split: Split, count: int, reranker: Reranker) -> NDArray[np.float32]:
    """Logits of a network."""
    options = ScoreOptions(count, count)
    return score_pairs(
        PairScorer(split.pairs, split.query.stores[0], split.gallery, reranker, options)
    ).logits


def best_ensemble(
    split: Split, evaluation: RerankedEvaluation, temps: Sequence[float], depth: int
) -> tuple[float, float]:
    """λ and γ that are best on the split."""

    def value(setting: tuple[float, float]) -> float:
        return split.tuned_on(precisions(evaluation, *setting, depth))

    return max(product(LAMBS, temps), key=value)


def interval(values: Values, scene: NDArray[np.int64]) -> list[float]:
    """2.5th and 97.5th percentile of the mean over resampled scenes."""
    scenes, place = np.unique(scene, return_inverse=True)
    sums, counts = np.bincount(place, values), np.bincount(place)
    drawn = np.random.default_rng(0).integers(len(scenes), size=(RESAMPLES, len(scenes)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return [round(float(low), 1), round(float(high), 1)]


def row(split: Split, found: Values, before: Values, other: Values | None) -> dict[str, Any]:
    """Figures of one method by tier: mean, interval, mean of each seed, gain over global and over `other`."""
    figures: dict[str, Any] = {}
    for tier in TIERS:
        here = split.tier == tier
        scene, values = split.scene[here], found[here]
        seeds = [values[split.seed[here] == seed].mean() for seed in np.unique(split.seed[here])]
        figures[tier] = {
            "mAP": round(float(values.mean()), 1),
            "interval": interval(values, scene),
            "by_seed": np.round(seeds, 1).tolist(),
        }
        for name, base in (("over_global", before), ("over_mutual", other)):
            if base is not None:
                gain = values - base[here]
                figures[tier][name] = {"mAP": round(float(gain.mean()), 1), "interval": interval(gain, scene)}
    return figures


def compare(
    val: Split,
    test: Split,
    counts: Sequence[int],
    depths: Sequence[int],
    rerankers: Mapping[str, Reranker],
) -> list[dict[str, Any]]:
    """All methods, as rows of the table."""
    nothing = np.zeros(test.pairs.rows.shape, np.float32)
    before = precisions(test.scored(nothing), 1, 1, 0)
    lines: list[dict[str, Any]] = [{"method": "global", **row(test, before, before, None)}]
    for depth in depths:
        perfect = precisions(test.scored(positives(test)), 0, 1, depth)
        lines.append({"method": "perfect re-ranking", "K": depth, **row(test, perfect, before, None)})
    for count in counts:
        on_val, on_test = matches(val, count), matches(test, count)
        tried = {ratio: (val.scored(on_val[ratio]), test.scored(on_test[ratio])) for ratio in RATIOS}
        learned = {
            name: (val.scored(network(val, count, model)), test.scored(network(test, count, model)))
            for name, model in rerankers.items()
        }
        for depth in depths:
            report = partial(_report, val, test, before, count, depth)
            on_val_mean = [val.tuned_on(precisions(tried[r][0], 0, COUNT_TEMP, depth)) for r in RATIOS]
            ratio = RATIOS[int(np.argmax(on_val_mean))]
            mutual = precisions(tried[ratio][1], 0, COUNT_TEMP, depth)
            held = {
                "bytes": count * descriptor_bytes(load_reranker("mutual", str(ratio)).spec),
                "ratio": ratio,
            }
            lines += report("mutual", tried[ratio], COUNT_TEMPS, mutual, held, COUNT_TEMP)
            for name, evaluations in learned.items():
                held = {"bytes": count * descriptor_bytes(rerankers[name].spec)}
                lines += report(name, evaluations, LOGIT_TEMPS, mutual, held, 0.05)
    return lines


def _report(
    val: Split,
    test: Split,
    before: Values,
    count: int,
    depth: int,
    name: str,
    evaluations: tuple[RerankedEvaluation, RerankedEvaluation],
    temps: Sequence[float],
    mutual: Values,
    settings: dict[str, Any],
    plain_temp: float,
) -> list[dict[str, Any]]:
    """A method alone, and its ensembles with the global similarity."""
    lamb, temp = best_ensemble(val, evaluations[0], temps, depth)
    lines = []
    tried = {name: (0.0, plain_temp), f"{name}, ensemble": (lamb, temp)}
    if name != "mutual":
        tried[f"{name}, ensemble before tuning"] = UNTUNED
    for told, setting in tried.items():
        found = precisions(evaluations[1], *setting, depth)
        made = {"descriptors": count, "K": depth, **settings}
        if told != name:
            made |= dict(zip(("lamb", "temp"), setting, strict=True))
        lines.append({"method": told, **made, **row(test, found, before, mutual)})
    return lines


def table(lines: Sequence[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    head = ("method", "descriptors", "bytes", "K", "ratio", "lamb", "temp")
    shown = [f"| {' | '.join((*head, *TIERS))} |", "|" + "---|" * (len(head) + len(TIERS))]
    for line in lines:
        cells = [str(line.get(name, "")) for name in head]
        for tier in TIERS:
            low, high = line[tier]["interval"]
            cells.append(f"{line[tier]['mAP']:.1f} [{low:.1f}, {high:.1f}]")
        shown.append(f"| {' | '.join(cells)} |")
    return "\n".join(shown)


def main() -> None:
    """Measure and write down."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", type=Path, help="folder of `ames-ray samples set=landmarks_mini`")
    parser.add_argument("stores", type=Path, help="folder of the stores val_query, val_gallery, test_query …")
    parser.add_argument("--model", nargs="+", default=[], help="AMES weights, any number of files")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--descriptors", type=int, nargs="+", default=[100, 300])
    parser.add_argument("--num-rerank", type=int, nargs="+", default=[100, 300])
    options = parser.parse_args()
    deepest = max(options.num_rerank)
    val, test = (Split.open(options.photos, options.stores, name, deepest) for name in ("val", "test"))
    rerankers = {
        Path(model).parent.name or model: load_reranker("ames", model, precision=options.precision)
        for model in options.model
    }
    lines = compare(val, test, options.descriptors, options.num_rerank, rerankers)
    print(table(lines))
    queries = {tier: int((test.tier == tier).sum()) for tier in TIERS}
    sizes: dict[str, Any] = {"test_queries": queries}
    sizes |= {"val_gallery": len(val.gallery), "test_gallery": len(test.gallery)}
    if seeds := over_seeds(lines, TIERS):
        sizes["over_seeds"] = seeds
    counts = ", ".join(map(str, options.descriptors))
    section = f"models, {counts} descriptors" if options.model else "baselines"
    if options.precision != "float32":
        section += f", {options.precision}"
    save("landmarks_mini", section, {**sizes, "rows": lines})


if __name__ == "__main__":
    main()
