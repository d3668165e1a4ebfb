"""Code blocks of the pages, in the order in which a reader would try them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_BLOCK = re.compile(
    r"(?:<!-- (?P<note>[^\n]*?) -->\n+)?^```(?P<language>[\w{}]*)\n(?P<text>.*?)^```", re.M | re.S
)
_HIDDEN = re.compile(r"^<!-- first: (?P<text>.*?) -->$", re.M)


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Attributes:
        language: What stands behind the fence; `sh` and `python` blocks are run.
        text: The lines.
        note: The comment in front of it, as "not run: REASON" or "may exit with 3: REASON", or nothing.
    """

    language: str
    text: str
    note: str

    @property
    def not_run(self) -> bool:
        return self.note.startswith("not run: ") and len(self.note) > len("not run: ")

    @property
    def file(self) -> str | None:
        """Name of the file that a Python block is to be put into, by its first line."""
        found = re.match(r"# (\w+\.py)\n", self.text)
        return found.group(1) if self.language == "python" and found else None


def pages() -> list[str]:
    """README, CONTRIBUTING and docs/, the generated reference aside."""
    found = sorted(p for p in (ROOT / "docs").glob("*.md") if p.name not in {"reference.md", "index.md"})
    return ["README.md", "CONTRIBUTING.md", *(f"docs/{p.name}" for p in found)]


def blocks(page: str) -> list[Block]:
    """All fenced blocks of a page, behind the commands that a comment gives to run first."""
    text = (ROOT / page).read_text()
    first = [Block("sh", f"{found['text']}\n", "") for found in _HIDDEN.finditer(text)]
    return first + [
        Block(found["language"], found["text"], found["note"] or "") for found in _BLOCK.finditer(text)
    ]
