"""The web app: routes around a `SearchEngine`, for any ASGI server."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import FastAPI, Path, Query, Request, Response

import ames_ray
from ames_ray.config.serve import MOST_RESULTS
from ames_ray.errors import ImageError
from ames_ray.service import page
from ames_ray.service.guard import LOCAL_NAMES, Guard
from ames_ray.service.line import Line
from ames_ray.service.models import Answer, Health, answer
from ames_ray.service.problems import Problem, answer_problems, documented, refused_image
from ames_ray.service.uploads import BODY, read_upload

if TYPE_CHECKING:
    from ames_ray.service.engine import SearchEngine
    from ames_ray.types import Box

_PICTURE_THREADS = 2
_NUMBER = r"[0-9]{1,9}(\.[0-9]{1,9})?"
_Count = Annotated[int | None, Query(ge=1, le=MOST_RESULTS, description="images to return")]
_Head = Annotated[int | None, Query(ge=0, le=MOST_RESULTS, description="images to re-rank")]
_Box = Annotated[
    str | None,
    Query(
        pattern=rf"^{_NUMBER}(,{_NUMBER}){{3}}$",
        description="part of the photo to search with: left,top,right,bottom [pixels]",
        examples=["120,80,640,560"],
    ),
]
_WithWhy = Annotated[bool, Query(description="say which places of the pictures agree")]
_Row = Annotated[int, Path(ge=0, description="row of the store")]


class _App(FastAPI):
    """FastAPI, with the one model in its description that no route returns."""

    def openapi(self) -> dict[str, Any]:
        """The description."""
        description = super().openapi()
        description["components"]["schemas"]["Problem"] = Problem.model_json_schema()
        return description


def make_app(engine: SearchEngine) -> FastAPI:
    """The app of one store.

    Args:
        engine: The open store; its config holds the limits.
    """
    # The interactive pages of FastAPI would load scripts from elsewhere.
    app = _App(
        title="ames-ray",
        summary="Search a photo collection for the same object or landmark.",
        version=ames_ray.__version__,
        docs_url=None,
        redoc_url=None,
    )
    answer_problems(app)
    host = engine.config.host.lower()
    app.add_middleware(Guard, names=LOCAL_NAMES | {host, f"[{host}]"} if engine.config.is_local else None)
    _add_search(app, engine)
    _add_thumbnails(app, engine)
    _add_health(app, engine)
    _add_page(app)
    return app


def _add_search(app: FastAPI, engine: SearchEngine) -> None:
    config = engine.config
    line = Line(config.max_queued, config.timeout)
    most = int(config.max_upload_mb * 1e6)

    @app.post(
        "/search",
        summary="Search with a photo",
        responses=documented(400, 408, 413, 415, 422, 500, 503),
        openapi_extra={"requestBody": BODY},
    )
    async def search(
        request: Request,
        num_results: _Count = None,
        num_rerank: _Head = None,
        bbox: _Box = None,
        why: _WithWhy = False,
    ) -> Answer:
        """The body is the photo itself, or a form with one file. Its bytes say what it is, not its name."""
        box = None if bbox is None else _corners(bbox)
        with line.place():
            data = await read_upload(request, most)
            try:
                result = await line.run(partial(engine.search, data, box, num_results, num_rerank))
            except ImageError as error:
                raise refused_image(error) from None
        return answer(result, why=why)


def _corners(text: str) -> Box:
    left, top, right, bottom = map(float, text.split(","))
    return left, top, right, bottom


def _add_thumbnails(app: FastAPI, engine: SearchEngine) -> None:
    threads = ThreadPoolExecutor(_PICTURE_THREADS, thread_name_prefix="thumbnail")

    @app.get(
        "/thumbnail/{row}",
        summary="A small picture of an image",
        response_class=Response,
        responses={200: {"content": {"image/webp": {}}}, **documented(404, 422, 500)},
    )
    async def thumbnail(row: _Row) -> Response:
        try:
            data = await asyncio.get_running_loop().run_in_executor(threads, engine.thumbnail, row)
        except ImageError as error:
            raise refused_image(error, missing=404) from None
        return Response(data, media_type="image/webp", headers={"Cache-Control": "private, max-age=600"})


def _add_health(app: FastAPI, engine: SearchEngine) -> None:
    @app.get("/health", summary="What is being served")
    async def tell() -> Health:
        return await asyncio.to_thread(_health, engine)


def _health(engine: SearchEngine) -> Health:
    engine.refresh()
    config, comparison, store = engine.config, engine.comparison, engine.store
    return Health(
        version=ames_ray.__version__,
        images=store.searchable,
        rows=store.meta.rows,
        backbone=str(store.meta.settings.get("backbone", "unknown")),
        ranked_by=comparison.name,
        unit=comparison.unit,
        reason=comparison.reason,
        num_results=config.num_results,
        num_rerank=config.num_rerank,
        max_upload_mb=config.max_upload_mb,
        max_pixels=engine.max_pixels,
    )


def _add_page(app: FastAPI) -> None:
    def add(path: str, media_type: str, text: str) -> None:
        async def send(_request: Request) -> Response:
            return Response(text, media_type=media_type, headers={"Cache-Control": "no-cache"})

        app.add_route(path, send, include_in_schema=False)

    add("/", "text/html", page.html())
    add("/page.css", "text/css", page.styles())
    add("/page.js", "text/javascript", page.script())
