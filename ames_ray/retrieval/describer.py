"""Local descriptors of whatever stands for an image: the array itself, or the path of a picture."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ames_ray.descriptors.reading import describe_picture
from ames_ray.errors import DatasetError
from ames_ray.retrieval.fit import check_descriptors
from ames_ray.store.codec import as_stored
from ames_ray.types import ImageRecord

if TYPE_CHECKING:
    from ames_ray.descriptors.extractor import Extractor
    from ames_ray.descriptors.reading import ReadOptions
    from ames_ray.model.reranker import Reranker
    from ames_ray.types import AnyArray

logger = logging.getLogger(__name__)


class Describer:
    """Describes pictures for a model.

    Args:
        extractor: Makes descriptors of pictures, raw ones or payloads; or none where only arrays come.
        model: What compares them.
        reading: How files become pixels.

    Raises:
        StoreError: The extractor makes other descriptors than the model takes.
    """

    def __init__(self, extractor: Extractor | None, model: Reranker, reading: ReadOptions) -> None:
        self._extractor = extractor
        self._reading = reading
        if extractor is not None:
            settings = extractor.spec.settings
            what = f"the extractor with backbone={settings.get('backbone')}"
            check_descriptors(settings, extractor.spec.dim, model.spec, what)

    def __call__(self, image: AnyArray | str | Path, *, is_query: bool = False) -> AnyArray:
        """(N, D) descriptors; an array as it is; none of a picture that cannot be used.

        Args:
            image: Array, or path or address of a picture.
            is_query: Without its descriptors there is nothing to do.

        Raises:
            DatasetError: There is no extractor, or the query cannot be used.
        """
        if not isinstance(image, str | Path):
            return image
        if self._extractor is None:
            raise DatasetError(
                f"{image} is a picture, and nothing was given that describes it",
                "pass extractor=build_extractor(…), or arrays of local descriptors",
            )
        features = describe_picture(ImageRecord(0, str(image), str(image)), self._extractor, self._reading)
        spec = self._extractor.spec
        if features.local is not None:
            found = features.local.descriptors
        elif is_query:
            raise DatasetError(f"the query {image} cannot be used: {features.reason}")
        else:
            logger.warning("%s cannot be used, it comes last: %s", image, features.reason)
            found = np.empty((0, spec.dim), np.float32)
        return as_stored(found, spec.codec) if spec.codec else found
