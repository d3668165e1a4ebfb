"""What a client is told when a request cannot be answered: problem JSON (RFC 9457) with a reason code.

Nothing else of an error leaves the service: no stack trace, no path of the server.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from ames_ray.images import reasons

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import FastAPI, Request

    from ames_ray.errors import ImageError

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 5
"""After how long a client that was turned away should try again."""

_REASONS = {400: "bad_request", 404: "not_found", 405: "method_not_allowed"}
_STATUS = {
    reasons.EMPTY: 400,
    reasons.NOT_AN_IMAGE: 415,
    reasons.TOO_MANY_PIXELS: 413,
}
"""Status by reason code; 422 for all others: it is a photo, and cannot be searched with."""
DESCRIPTIONS = {
    400: "There is no photo in the request, or its multipart body is malformed",
    404: "There is no such image",
    408: "The upload took too long",
    413: "The upload has too many bytes, or the photo too many pixels",
    415: "The content is no picture",
    422: "A parameter is out of range, or the photo cannot be searched with",
    500: "An error of the service",
    503: "Too many searches wait already, or the answer took too long; `Retry-After` says when to come again",
}


class Problem(BaseModel):
    """Why a request could not be answered."""

    type: str = Field("about:blank", description="always about:blank: the reason says more")
    title: str = Field(description="name of the status")
    status: int = Field(description="HTTP status")
    reason: str = Field(description="code for programs, for example `truncated`")
    detail: str = Field(description="one sentence for people")


class Refused(Exception):  # noqa: N818 - it is an answer, not an error
    """A request that gets a problem as its answer.

    Args:
        status: HTTP status.
        reason: Code for programs.
        detail: One sentence for people.
    """

    def __init__(self, status: int, reason: str, detail: str) -> None:
        super().__init__(status, reason, detail)
        self.status = status
        self.reason = reason
        self.detail = detail


def refused_image(error: ImageError, missing: int | None = None) -> Refused:
    """The answer to a picture that cannot be used.

    Args:
        error: What is wrong with it.
        missing: Status for all reasons where the picture is the service's own.
    """
    explained = reasons.EXPLANATIONS.get(error.reason, error.reason)
    detail = f"{explained} ({error.detail})" if error.detail else explained
    return Refused(missing or _STATUS.get(error.reason, 422), error.reason, detail)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """These problems for the OpenAPI description of a route."""
    schema = {"schema": {"$ref": "#/components/schemas/Problem"}}
    found: dict[int | str, dict[str, Any]] = {}
    for status in statuses:
        found[status] = {"description": DESCRIPTIONS[status], "content": {MEDIA_TYPE: schema}}
        if status == 503:
            seconds = {"description": "seconds", "schema": {"type": "integer", "minimum": 0}}
            found[status]["headers"] = {"Retry-After": seconds}
    return found


def answer_problems(app: FastAPI) -> None:
    """Make every error of the app a problem."""

    @app.exception_handler(Refused)
    async def refuse(_request: Request, error: Refused) -> JSONResponse:
        return problem(error.status, error.reason, error.detail)

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        lines = [f"{'.'.join(map(str, found['loc'][1:]))}: {found['msg']}" for found in error.errors()]
        return problem(422, "bad_parameter", "; ".join(lines))

    @app.exception_handler(HTTPException)
    async def http(_request: Request, error: HTTPException) -> JSONResponse:
        reason = _REASONS.get(error.status_code, "refused")
        return problem(error.status_code, reason, str(error.detail), error.headers)

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> JSONResponse:
        logger.error("%s %s: %r", request.method, request.url.path, error)
        return problem(500, "internal_error", "the service failed on this request; its log says more")


def problem(status: int, reason: str, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The answer."""
    content = Problem(title=HTTPStatus(status).phrase, status=status, reason=reason, detail=detail)
    extra = {"Retry-After": str(RETRY_SECONDS)} if status == 503 else {}
    return JSONResponse(content.model_dump(), status, {**(headers or {}), **extra}, media_type=MEDIA_TYPE)
