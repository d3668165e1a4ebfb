"""AMES as a re-ranker: rows of a store in, logits out, in steps that fit the memory near the processor."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch

from ames_ray.errors import StoreError
from ames_ray.model.checkpoints import load_ames
from ames_ray.model.digest import projection_digest, weights_digest
from ames_ray.model.padding import LOWEST_LOGIT, blank
from ames_ray.model.payload import payload, payload_tokens, unpack_signs
from ames_ray.model.reranker import RerankerSpec
from ames_ray.types import FeatureBatch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from ames_ray.model.ames import Ames, ImageTokens
    from ames_ray.model.reranker import Precision, Reranker
    from ames_ray.types import FloatArray

TOKENS_PER_STEP = {"cpu": 5_000, "cuda": 400_000}
"""Tokens that go through the network at once: on a CPU as many as its caches hold (benchmarks/scoring.py)."""
_NOT_FINITE = "its descriptors or its query's hold NaN or infinity"
_EXTRACT = "`ames-ray store verify` finds such rows; extract them again"


class AmesReranker:
    """A `Reranker` around an `Ames` network.

    Args:
        model: The network; it is moved to `device`, converted to `precision` and put into evaluation mode.
        device: Torch device.
        precision: Arithmetic of the blocks. The projection stays float32, so that signs and payloads do not
            depend on it.
        tokens_per_step: Tokens that go through the network at once; by default what suits the device.
    """

    def __init__(
        self,
        model: Ames,
        *,
        device: str = "cpu",
        precision: Precision = "float32",
        tokens_per_step: int | None = None,
    ) -> None:
        self._spec = _spec(model)
        self._device = torch.device(device)
        self._model = model.eval().to(self._device, getattr(torch, precision))
        self._model.remap_local.float()
        self._tokens_per_step = tokens_per_step or TOKENS_PER_STEP.get(self._device.type, 100_000)

    @property
    def spec(self) -> RerankerSpec:
        """What it takes and what it is made of."""
        return self._spec

    @torch.inference_mode()
    def __call__(self, query: FeatureBatch, gallery: FeatureBatch) -> FloatArray:
        """Logits of pairs; see `Reranker`."""
        query, gallery = _trimmed(query), _trimmed(gallery)
        found = [torch.empty(0, device=self._device)]
        for owners, parts in self._steps(query, gallery):
            prepared = self._image(query, owners, is_gallery=False)
            for part in parts:
                scores = self._model.compare(prepared, self._image(gallery, part, is_gallery=True))
                # The lowest logit is no number of bfloat16, which rounds it beyond what float16 holds.
                found.append(scores.float().clamp_min(LOWEST_LOGIT))
        # One transfer at the end: a device works on while the host prepares the next step.
        logits: FloatArray = torch.cat(found).cpu().numpy()
        if np.isnan(logits).any():
            rows = gallery.rows[np.isnan(logits)]
            raise StoreError(f"the score of gallery row {rows[0]} is not a number: {_NOT_FINITE}", _EXTRACT)
        return logits

    @torch.inference_mode()
    def attention(self, query: FeatureBatch, gallery: FeatureBatch) -> FloatArray:
        """How much a query's descriptors look at those of each image in the last cross-attention.

        Args:
            query: One image.
            gallery: B images, raw or projected.

        Returns:
            (B, Q, T) float32 weights, mean of the heads; columns of padding are 0.

        Raises:
            StoreError: Descriptors of another width or kind.
        """
        prepared = self._image(query, slice(0, 1), is_gallery=False)
        shape = (len(gallery.rows), query.valid.shape[1], gallery.valid.shape[1])
        found = np.zeros(shape, np.float32)
        for index in range(len(found)):
            image = self._image(gallery, slice(index, index + 1), is_gallery=True)
            found[index] = self._model.attention(prepared, image)[0].float().cpu().numpy()
        return found

    @torch.inference_mode()
    def project(self, batch: FeatureBatch) -> FeatureBatch:
        """The batch with payloads in place of raw descriptors; see `Reranker`."""
        options = self._model.options
        if (width := options.descriptor_dim) == options.payload_dim:
            raise StoreError(
                f"descriptors and payloads of this model are both {width} wide, and could be mixed up",
                "score from the raw store",
            )
        raw = np.where(batch.valid[..., None], batch.descriptors, 0)
        if not np.isfinite(raw).all():
            row = batch.rows[~np.isfinite(raw).all((1, 2))][0]
            raise StoreError(f"row {row}: {_NOT_FINITE}", _EXTRACT)
        with _one_thread():
            stored = payload(self._model, _numbers(torch.from_numpy(raw).to(self._device))).cpu().numpy()
        stored[~batch.valid] = 0
        return FeatureBatch(batch.rows, stored, batch.valid)

    def _steps(self, query: FeatureBatch, gallery: FeatureBatch) -> Iterator[tuple[slice, list[slice]]]:
        """Queries that are prepared together, with the parts of the gallery that are compared together."""
        queries, images = len(query.rows), len(gallery.rows)
        if queries == 0 or images % queries:
            raise StoreError(
                f"{queries} queries do not share {images} gallery images evenly",
                "pass one query for a shortlist, or as many queries as gallery images",
            )
        share = images // queries
        tokens = 2 + query.valid.shape[1] + gallery.valid.shape[1]
        pairs = max(1, self._tokens_per_step // tokens)
        together = max(1, pairs // max(1, share))
        for first in range(0, queries, together):
            last = min(first + together, queries)
            stop = last * share
            step = pairs if together == 1 else share * together
            starts = range(first * share, stop, max(1, step))
            yield slice(first, last), [slice(start, min(start + step, stop)) for start in starts]

    def _image(self, batch: FeatureBatch, part: slice, *, is_gallery: bool) -> ImageTokens:
        """Some rows of a batch as the network takes them."""
        model, valid = self._model, batch.valid[part]
        # Rows of a mapped store cannot be written to, and torch wants arrays that can.
        descriptors = torch.from_numpy(np.require(batch.descriptors[part], requirements=("C", "W"))).to(
            self._device
        )
        visible = (
            None
            if valid.all()
            else torch.from_numpy(np.require(valid, requirements=("C", "W"))).to(self._device)
        )
        if self._is_payload(descriptors):
            return model.image(payload_tokens(model, descriptors), visible)
        tokens = model.project(blank(_numbers(descriptors), visible))
        return model.image(model.stored(tokens) if is_gallery else tokens, visible)

    def _is_payload(self, descriptors: Tensor) -> bool:
        options = self._model.options
        if options.descriptor_dim == options.payload_dim:
            return False
        bits = descriptors.dtype == torch.uint8
        return descriptors.shape[-1] * (8 if bits else 1) == options.payload_dim


def load(weights: str, device: str, precision: Precision) -> Reranker:
    """AMES with the weights of a file, or with published ones by name; see `load_reranker`."""
    return AmesReranker(load_ames(weights), device=device, precision=precision)


def _numbers(descriptors: Tensor) -> Tensor:
    """Raw descriptors as numbers; the authors also release them as packed signs."""
    return unpack_signs(descriptors) if descriptors.dtype == torch.uint8 else descriptors


@contextmanager
def _one_thread() -> Iterator[None]:
    """Another number of threads adds up in another order, and payloads are to be the same bytes anywhere."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _trimmed(batch: FeatureBatch) -> FeatureBatch:
    """Without the columns that are padding in every row."""
    used = np.flatnonzero(batch.valid.any(0))
    count = int(used[-1]) + 1 if len(used) else 0
    return FeatureBatch(batch.rows, batch.descriptors[:, :count], batch.valid[:, :count])


def _spec(model: Ames) -> RerankerSpec:
    options = model.options
    return RerankerSpec(
        name="ames",
        backbone=options.backbone,
        descriptor_dim=options.descriptor_dim,
        payload="bits" if options.binary else "float16",
        payload_dim=options.payload_dim,
        weights_digest=weights_digest(model),
        projection_digest=projection_digest(model),
        weights=len(model.state_dict()),
    )
