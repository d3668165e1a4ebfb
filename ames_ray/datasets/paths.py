"""Image paths: known by their suffix, relative in files, resolved in memory, refused where they lead out."""

from __future__ import annotations

import os
import posixpath
import stat
from pathlib import Path

from ames_ray.errors import ConfigError, UnsafeFileError
from ames_ray.files import is_remote, refuse_password

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".jp2", ".avif"}
)
"""Endings of files that are taken for pictures, in lower case."""


def is_picture(path: str) -> bool:
    """Whether a path ends as pictures do; what the file holds is another matter."""
    return posixpath.splitext(path)[1].lower() in IMAGE_SUFFIXES


def expanded(path: str) -> Path:
    """A local path with the home of a user in place of `~` or `~name`.

    Raises:
        ConfigError: There is no such user.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise ConfigError(
            f"{path} begins with the home of a user that this machine does not know",
            f"write ./{path} if a file or folder here is called so",
        ) from None


def absolute(root: str | Path) -> str:
    """A root as manifests keep it: absolute, without a slash at its end.

    Raises:
        ConfigError: It begins with the home of an unknown user.
        UnsafeFileError: It carries a password.
    """
    text = str(root).removeprefix("file://")
    if is_remote(text):
        refuse_password(text)
        return text.rstrip("/")
    path = expanded(text)
    return str(path.resolve() if ".." in path.parts else path.absolute())


def resolve(root: str, path: str) -> str:
    """The full address of an image: `path` itself if it is absolute, else below `root`."""
    if is_remote(path) or path.startswith("/"):
        return path
    folder, options = _split(root)
    return f"{folder}/{path}{options}"


def relative(root: str, path: str) -> str:
    """`path` without its root; one that lies elsewhere comes back absolute."""
    folder, options = _split(root)
    path = resolve(folder, path.removeprefix("file://"))
    if not is_remote(path):
        path = posixpath.normpath(path)
    below = path.removesuffix(options).removeprefix(f"{folder}/")
    # Elsewhere in a bucket it keeps its options, which the root cannot give back.
    return path if is_remote(below) else below


def leads_out(path: str) -> bool:
    """Whether the text of a path, as manifests keep it, shows that it is not below the root."""
    return path.startswith("/") or is_remote(path) or ".." in path.split("/")


def _split(root: str) -> tuple[str, str]:
    """Folder and options of a root such as `s3://bucket/photos?endpoint_override=…`."""
    if not is_remote(root):
        return root.rstrip("/"), ""
    folder, mark, options = root.partition("?")
    return folder.rstrip("/"), mark + options


class Guard:
    """Decides which paths may be listed.

    Args:
        root: Folder that images must not leave; a symbolic link counts as where it leads.
        allow_outside: Let everything pass.
    """

    def __init__(self, root: str, *, allow_outside: bool) -> None:
        self._root = root
        self._allow_outside = allow_outside
        self._local = not is_remote(root)
        self._real_root = os.path.realpath(root) if self._local else root
        self._inside: dict[str, bool] = {}

    def relative(self, path: str) -> str:
        """`path` below the root; absolute where it leads out and may do so.

        Raises:
            UnsafeFileError: It leads out, by its text or through a symbolic link; or it carries a password.
        """
        refuse_password(path)
        below = relative(self._root, path)
        if self._allow_outside:
            return below
        if leads_out(below):
            raise self._refuse(path, "leaves")
        if self._local and not self._really_inside(below):
            raise self._refuse(path, "is or follows a symbolic link that leaves")
        return below

    def _really_inside(self, below: str) -> bool:
        # Folders are few and files are many: a folder is resolved once, a file only if it is a link.
        folder = posixpath.dirname(below)
        if folder not in self._inside:
            self._inside[folder] = self.contains(Path(self._root, folder))
        path = f"{self._root}/{below}"
        return self._inside[folder] and (not _is_link(path) or self.contains(Path(path)))

    def contains(self, path: Path) -> bool:
        """Whether a path, its symbolic links followed, lies in the root."""
        real = os.path.realpath(path)
        return real == self._real_root or real.startswith(self._real_root.rstrip("/") + "/")

    def _refuse(self, path: str, how: str) -> UnsafeFileError:
        return UnsafeFileError(
            f"{path} {how} {self._root}",
            "correct the list or data_root=; allow_outside=true permits it",
        )


def _is_link(path: str) -> bool:
    try:
        return stat.S_ISLNK(os.lstat(path).st_mode)
    except (OSError, ValueError):  # no such file, a NUL in its name: found out and told when it is read
        return False
