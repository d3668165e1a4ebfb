"""The photo of a request, read no further than it may be long."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect, Request

from ames_ray.service.problems import Refused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.types import Message

UPLOAD_SECONDS = 60.0
"""How long a client may take to send its photo."""
_ENVELOPE = 64 << 10
"""What a multipart body may hold besides the photo."""
_MULTIPART = "multipart/form-data"
BODY = {
    "required": True,
    "content": {
        "image/*": {"schema": {"type": "string", "format": "binary"}},
        _MULTIPART: {
            "schema": {
                "type": "object",
                "required": ["image"],
                "properties": {"image": {"type": "string", "format": "binary"}},
            }
        },
    },
}
"""Description of the request body for OpenAPI."""


async def read_upload(request: Request, most: int) -> bytes:
    """The bytes of the photo: the one file of a multipart body, or any other body as it is.

    Names and types that the client states are not looked at: what the bytes are shows when they are decoded.

    Args:
        request: The request, its body not read yet.
        most: Longest photo [bytes].

    Raises:
        Refused: 400, 408 or 413.
    """
    is_form = request.headers.get("content-type", "").lower().startswith(_MULTIPART)
    limit = most + _ENVELOPE if is_form else most
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise _too_large(most)
    limited = Request(request.scope, _counted(request.receive, limit, most))
    try:
        async with asyncio.timeout(UPLOAD_SECONDS):
            data = await (_file_of(limited, most) if is_form else limited.body())
    except TimeoutError:
        raise Refused(408, "upload_too_slow", f"a photo must arrive within {UPLOAD_SECONDS:g} s") from None
    except ClientDisconnect:
        raise Refused(400, "interrupted", "the upload ended too early") from None
    if not data:
        raise Refused(400, "empty", "the request holds no photo")
    return data


async def _file_of(request: Request, most: int) -> bytes:
    async with request.form(max_files=1, max_fields=8) as form:
        files = [value for value in form.values() if isinstance(value, UploadFile)]
        if not files:
            raise Refused(400, "no_file", "the form holds no file; send one, as `curl -F image=@photo.jpg`")
        data = await files[0].read(most + 1)
    if len(data) > most:
        raise _too_large(most)
    return data


def _counted(
    receive: Callable[[], Awaitable[Message]], limit: int, most: int
) -> Callable[[], Awaitable[Message]]:
    """`receive`, until more than `limit` bytes of body came."""
    came = 0

    async def counted() -> Message:
        nonlocal came
        message = await receive()
        came += len(message.get("body", b""))
        if came > limit:
            raise _too_large(most)
        return message

    return counted


def _too_large(most: int) -> Refused:
    return Refused(413, "upload_too_large", f"a photo may have {most / 1e6:g} MB")
