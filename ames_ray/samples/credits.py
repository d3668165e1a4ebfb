"""Who made the sample photos, and under which licences: the text beside them."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ames_ray.samples.debian import UnpackedPackage

CREDITS = "CREDITS.md"
_COPYRIGHT = "COPYRIGHT.txt"

_SCIKIT_IMAGE = """\
| photo | by | licence |
|---|---|---|
| astronaut | NASA | public domain |
| brick | CC0Textures, Bricks25 | CC0 |
| camera | Lav Varshney | CC0 |
| chelsea | Stefan van der Walt | CC0 |
| coffee | Rachel Michetti, courtesy of Pikolo Espresso Bar | CC0 |
| coins | Brooklyn Museum Collection | no known copyright restrictions |
| grass | linolafett on DeviantArt, Grass 01 | CC0 |
| gravel | CC0Textures, Gravel04 | CC0 |
| hubble_deep_field | NASA | public domain |
| moon | not stated; the licence of scikit-image | BSD-3-Clause |
| motorcycle_left, motorcycle_right | Middlebury stereo benchmark 2014: Scharstein, Hirschmüller, Kitajima, \
Krathwohl, Nešić, Wang, Westling | not stated; cite the benchmark |
| rocket | SpaceX | public domain |
"""


def gcompris_credits(
    package: UnpackedPackage, members: Sequence[str], notes: Mapping[str, bytes]
) -> dict[str, bytes]:
    """The credits of pictures out of the Debian package.

    The notes that its authors put beside the pictures are quoted as they are, since a rewritten list could
    credit the wrong person.

    Args:
        package: The unpacked package.
        members: Paths of the pictures inside the package.
        notes: `README` files of the package by path.
    """
    folders = {str(parent) for member in members for parent in PurePosixPath(member).parents}
    parts = [
        "# Credits\n\n"
        "These pictures come from GCompris, a collection of educational games, as Debian packages it:\n"
        f"{package.name} {package.version}. They are the files as shipped, neither recompressed nor resized."
        "\n\nThe authors' own notes below name author, licence and source of each picture. What they do not\n"
        "name is under the licence of the package, GPL-3 or later. Debian's own statement is in\n"
        f"[{_COPYRIGHT}]({_COPYRIGHT}).\n"
    ]
    for path, note in notes.items():
        if path.rpartition("/")[0] in folders:
            text = note.decode("utf-8", "replace").strip()
            parts.append(f"\n## {path.rpartition('/')[0]}\n\n```text\n{text}\n```\n")
    return {CREDITS: "".join(parts).encode(), _COPYRIGHT: package.copyright}


def opencv_credits(package: UnpackedPackage) -> dict[str, bytes]:
    """The credits of pictures out of Debian's `opencv-doc`: its own statement, as it is."""
    return {f"COPYRIGHT_{package.name}.txt": package.copyright}


def wheel_credits(labels: Sequence[str], scikit_learn_readme: bytes) -> dict[str, bytes]:
    """The credits of photos out of the installed wheels.

    Args:
        labels: Names and versions of the packages.
        scikit_learn_readme: The note beside scikit-learn's photos, quoted as it is.
    """
    readme = scikit_learn_readme.decode("utf-8", "replace").strip()
    text = (
        f"# Credits\n\nThese photos come from {' and '.join(labels)}.\n"
        "They are the files as shipped, neither recompressed nor resized.\n\n"
        f"## scikit-image\n\n{_SCIKIT_IMAGE}\n"
        f"## scikit-learn\n\n```text\n{readme}\n```\n"
    )
    return {CREDITS: text.encode()}
