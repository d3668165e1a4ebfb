"""Re-ranking as a building block: ten hits of a vector database in, their new order out.

The hits are arrays of local descriptors, or the pictures themselves:

    model = load_reranker("ames", "dinov2_ames")
    extractor = build_extractor(ExtractorOptions("dinov2", detector="dinov2_detector.pt", imsize=770), "cpu")
    found = rerank("query.jpg", ["hit1.jpg", "hit2.jpg"], model, extractor=extractor)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ames_ray.descriptors.reading import ReadOptions
from ames_ray.errors import DatasetError
from ames_ray.evaluation.ensemble import Ensemble, ensemble_scores, match_probability
from ames_ray.retrieval.describer import Describer
from ames_ray.types import FeatureBatch

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from ames_ray.descriptors.extractor import Extractor
    from ames_ray.model.reranker import Reranker
    from ames_ray.types import AnyArray, FloatArray, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Reranked:
    """Candidates in their new order.

    Attributes:
        order: (B,) int64 positions in the given candidates, best first.
        scores: (B,) float64 scores in that order; -inf of an image without descriptors.
        logits: (B,) float32 answers of the network, in the order of the candidates.
    """

    order: IntArray
    scores: NDArray[np.float64]
    logits: FloatArray


def rerank(
    query: AnyArray | str | Path,
    candidates: Sequence[AnyArray] | Sequence[str] | Sequence[Path] | AnyArray,
    model: Reranker,
    *,
    extractor: Extractor | None = None,
    reading: ReadOptions | None = None,
    similarities: Sequence[float] | FloatArray | None = None,
    lamb: float = 0.5,
    temp: float = 0.5,
) -> Reranked:
    """A new order of the hits of one query.

    Args:
        query: (N, D) local descriptors of the query image, strongest first; raw, or the payloads of
            `model.project`. Or the path or address of the picture.
        candidates: B arrays (N_i, D), one an image; their lengths may differ. Or one (B, N, D). Or B paths or
            addresses of pictures; one that cannot be read is warned of. An image without descriptors comes
            last.
        model: From `ames_ray.model.reranker.load_reranker`.
        extractor: Describes pictures: from `ames_ray.descriptors.extractor.build_extractor`, or, as a store
            was made, from `ames_ray.search.queries.build_query_extractor`. It decides how many descriptors.
        reading: How their files become pixels; of a store, `ames_ray.search.queries.read_options`. None for
            the defaults of an extraction.
        similarities: (B,) global similarities of the hits. With them the score is that of the ensemble,
            λ · similarity + (1 − λ) · sigmoid(γ · logit); without them it is sigmoid(γ · logit).
        lamb: λ.
        temp: γ.

    Raises:
        DatasetError: A shape does not fit, the candidates are one path, the query picture cannot be used, or
            pictures are given without an extractor.
        StoreError: Descriptors of another width or kind than the model's, or with NaN.
    """
    if isinstance(candidates, str):
        raise DatasetError(f"candidates={candidates} is one picture", "give a list of them: [candidates]")
    setting = Ensemble(lamb if similarities is not None else 0.0, temp, len(candidates))
    describe = Describer(extractor, model, reading or ReadOptions())
    images = _batch([describe(image) for image in candidates], "candidate")
    mine = _batch([describe(query, is_query=True)], "query")
    logits = model(mine, images) if len(candidates) else np.empty(0, np.float32)
    known = (
        np.zeros(len(logits), np.float32) if similarities is None else np.asarray(similarities, np.float32)
    )
    if known.shape != logits.shape:
        raise DatasetError(
            f"similarities have shape {known.shape} for {len(logits)} candidates", "give one a candidate"
        )
    scores = ensemble_scores(known, match_probability(logits, setting.temp), setting.lamb)
    scores[~images.valid.any(axis=1)] = -np.inf
    # Far from 0 the sigmoid is flat, so logits decide between equal scores; then the given order does.
    order = np.lexsort((-logits, -scores)) if similarities is None else np.argsort(-scores, kind="stable")
    return Reranked(order.astype(np.int64), scores[order], logits)


def _batch(images: Sequence[AnyArray], what: str) -> FeatureBatch:
    """Arrays of different lengths as one padded batch."""
    arrays = [np.asarray(image) for image in images]
    width = arrays[0].shape[-1] if arrays and arrays[0].ndim == 2 else 0
    for number, array in enumerate(arrays):
        if array.ndim != 2 or array.shape[1] != width or array.dtype != arrays[0].dtype:
            raise DatasetError(
                f"{what} {number} is {array.dtype} of shape {array.shape}; "
                f"wanted is {arrays[0].dtype} of shape (descriptors, {width or 'D'})",
                "give one array an image, all of one kind",
            )
    lengths = np.array([len(array) for array in arrays], np.int64)
    longest = int(lengths.max(initial=0))
    dtype = arrays[0].dtype if arrays else np.dtype(np.float32)
    descriptors = np.zeros((len(arrays), longest, width), dtype)
    for target, array in zip(descriptors, arrays, strict=True):
        target[: len(array)] = array
    return FeatureBatch(np.arange(len(arrays)), descriptors, np.arange(longest) < lengths[:, None])
