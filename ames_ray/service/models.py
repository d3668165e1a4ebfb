"""What the service answers, as OpenAPI describes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, Field

from ames_ray.search.results import printable

if TYPE_CHECKING:
    from ames_ray.search.results import Agreement, Hit, SearchResult
    from ames_ray.types import FloatArray


class Match(BaseModel):
    """Two places that show the same."""

    query: tuple[float, float] = Field(description="x and y in the whole uploaded photo [pixels]")
    image: tuple[float, float] = Field(description="x and y in the whole image that was found [pixels]")
    strength: float = Field(description="0 to 1")


class Why(BaseModel):
    """Which places of the two pictures agree."""

    count: int = Field(description="agreeing places in all")
    width: int = Field(description="of the image that was found [pixels]; 0: the store does not say")
    height: int = Field(description="likewise")
    matches: list[Match] = Field(description="the surest ones, surest first")


class Found(BaseModel):
    """One image that was found."""

    rank: int = Field(ge=1, description="place, from 1")
    before: int = Field(ge=1, description="place before re-ranking")
    moved: int = Field(description="places gained by re-ranking")
    row: int = Field(ge=0, description="row of the store")
    image: str = Field(description="image id")
    similarity: float | None = Field(description="inner product of the global descriptors")
    score: float | None = Field(description="what re-ranking gave; null: behind the re-ranked head")
    thumbnail: str = Field(description="address of a small picture, relative to the service")
    why: Why | None = Field(None, description="null unless asked for with why=true and re-ranked")


class Query(BaseModel):
    """The photo that was searched with."""

    width: int = Field(description="pixels, after its EXIF rotation")
    height: int = Field(description="pixels")
    descriptors: int = Field(description="local descriptors that were found in it")


class Answer(BaseModel):
    """Ranked images."""

    query: Query
    results: list[Found] = Field(description="in their final order")


class Health(BaseModel):
    """What is being served."""

    status: str = Field("ok", description="always ok: a service that is not does not answer")
    version: str = Field(description="of ames-ray")
    images: int = Field(description="images that can be found")
    rows: int = Field(description="rows of the store, failed and removed ones included")
    backbone: str = Field(description="what described them")
    ranked_by: str = Field(description="what re-ranks")
    unit: str = Field(description="what a score counts; empty where it is a plain number")
    reason: str = Field(description="what the matches of `why` are")
    num_results: int = Field(description="images returned where a request does not say")
    num_rerank: int = Field(description="images re-ranked where a request does not say")
    max_upload_mb: float = Field(description="largest upload [MB]")
    max_pixels: int = Field(description="largest photo [pixels]")


def answer(result: SearchResult, *, why: bool) -> Answer:
    """The answer to a search.

    Args:
        result: What was found.
        why: Whether to say which places agree.
    """
    query = result.query
    count = 0 if query.local is None else len(query.local)
    return Answer(
        query=Query(width=query.width, height=query.height, descriptors=count),
        results=[_found(hit, why=why) for hit in result.top],
    )


def _found(hit: Hit, *, why: bool) -> Found:
    return Found(
        rank=hit.rank,
        before=hit.before,
        moved=hit.before - hit.rank,
        row=hit.record.row,
        image=printable(hit.record.image_id),
        similarity=_plain(hit.similarity),
        score=None if hit.score is None else _plain(hit.score),
        thumbnail=f"thumbnail/{hit.record.row}",
        why=_why(hit.agreement) if why and hit.agreement is not None else None,
    )


def _why(found: Agreement) -> Why:
    width, height = found.image_size
    places = zip(_places(found.query_xy), _places(found.image_xy), found.strength.tolist(), strict=True)
    matches = [Match(query=a, image=b, strength=round(strength, 4)) for a, b, strength in places]
    return Why(count=found.count, width=width, height=height, matches=matches)


def _places(xy: FloatArray) -> list[tuple[float, float]]:
    return [(round(x, 2), round(y, 2)) for x, y in xy.tolist()]


def _plain(value: float) -> float | None:
    """A number as JSON can hold it, as short as float32 allows."""
    return float(f"{value:.7g}") if np.isfinite(value) else None
