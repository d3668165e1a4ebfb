"""The page at `/`: it loads its style and its script from the service, and nothing from anywhere else."""

from __future__ import annotations

from importlib.resources import files

from ames_ray.report.parts import dialog_head
from ames_ray.report.shell import asset, fill

_ASSETS = files("ames_ray.service") / "assets"


def html() -> str:
    """The document."""
    return fill(_own("service.html"), {"dialog_head": dialog_head("why")})


def styles() -> str:
    """Its style sheet: the one of the search pages, and what is the service's own."""
    return asset("base.css") + asset("search.css") + _own("service.css")


def script() -> str:
    """Its script, on top of the one that all pages share."""
    return asset("base.js") + _own("service.js")


def _own(name: str) -> str:
    return (_ASSETS / name).read_text("utf-8")
