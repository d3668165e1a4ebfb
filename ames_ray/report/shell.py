"""A page as one file that loads nothing: style, script and data inside, everything else forbidden to it.

The policy in the page's head names its one style and one script by their hashes, so that a browser refuses
any other, whatever a file name in the data may hold.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_SLOT = re.compile(r"\{\{(\w+)\}\}")
_SURROGATE = re.compile("[\ud800-\udfff]")
_ASSETS = files("ames_ray.report") / "assets"
_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>{style}</style>
{body}
{islands}
<script>{script}</script>
</html>
"""


def asset(name: str) -> str:
    """The text of a file beside this module's pages."""
    return (_ASSETS / name).read_text("utf-8")


def fill(template: str, values: Mapping[str, str]) -> str:
    """The template with HTML in place of each `{{name}}`, all at once: a value may look like a name."""
    return _SLOT.sub(lambda found: values[found[1]], template)


def page(title: str, body: str, islands: Mapping[str, Any], *, styles: str, script: str) -> bytes:
    """A whole page.

    Args:
        title: Plain text.
        body: HTML, its texts escaped already.
        islands: JSON values by id, which the script reads with `JSON.parse`.
        styles: Text of the style sheets.
        script: Text of the script.
    """
    policy = (
        f"default-src 'none'; img-src data:; style-src {_hash(styles)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    text = _PAGE.format(
        policy=policy,
        title=escape(title),
        style=styles,
        body=body,
        islands="\n".join(_island(name, value) for name, value in islands.items()),
        script=script,
    )
    return text.encode()


def escape(text: object) -> str:
    """Text for HTML and its attributes; bytes of a file name that are not UTF-8 are spelled out."""
    return html.escape(str(text).encode("utf-8", "backslashreplace").decode())


def _island(name: str, value: Any) -> str:
    """Data that no parser of HTML can mistake for markup: `<`, `>` and `&` are written as escapes."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    # Lone surrogates stand for bytes of file names that are not UTF-8; they are spelled out.
    plain = _SURROGATE.sub(lambda found: f"\\\\u{ord(found[0]):04x}", text)
    return f'<script type="application/json" id="{name}">{plain}</script>'


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
