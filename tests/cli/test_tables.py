from __future__ import annotations

import pytest

from ames_ray.cli.tables import facts


def test_brackets_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    facts("tune [bold]", {"folder": "/x/[red]photos[/red]", "[b]": "[1,2]"})
    out = capsys.readouterr().out
    assert all(text in out for text in ("tune [bold]", "/x/[red]photos[/red]", "[b]", "[1,2]"))
