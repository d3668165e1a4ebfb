"""What can go wrong, in one place: every error carries a message, a hint and an exit code."""

from __future__ import annotations

import errno


class AmesError(Exception):
    """An error that a user can act on.

    Args:
        message: What is wrong; names the file, the field and the value found.
        hint: What to do about it, or none.
    """

    exit_code = 2

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\nhint: {self.hint}"


class ConfigError(AmesError):
    """A setting is unknown, malformed or contradicts another."""


class DatasetError(AmesError):
    """An image list, a ground truth or the files that they name are not as they should be."""


class UnsafeFileError(AmesError):
    """A file from outside would run code, or leaves the folder that it may touch."""


class StoreError(AmesError):
    """A descriptor store is damaged, incomplete, owned by another run, or made with other settings."""


class WeightsError(AmesError):
    """A weights file is missing, foreign, or does not match the network."""


class ResourceError(AmesError):
    """The machine or the cluster cannot run what was asked: CPUs, GPUs, memory or disk."""


class RunError(AmesError):
    """A run stopped on the way; the message says what was saved and how to resume."""


class FailedRowsError(AmesError):
    """The run is complete, but some rows failed and the caller asked to be told by the exit code."""

    exit_code = 3


class ImageError(Exception):
    """One image cannot be used. It becomes a row with a reason, never the end of a run.

    Args:
        reason: One of `ames_ray.images.reasons`, for example ``"truncated"``.
        detail: A short clean text for people; never a memory address or a machine path.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}" if self.detail else self.reason


def first_line(error: BaseException) -> str:
    """What another library's error says, as short as a message can take it."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


DISK_FULL_HINT = "what is finished is safe; free some space, and the same command goes on from there"


def is_full(error: OSError) -> bool:
    """Whether it says that a disk has no room left."""
    # h5py gives the number of the system's error in the text only.
    return error.errno in {errno.ENOSPC, errno.EDQUOT} or f"errno = {errno.ENOSPC}," in str(error)
