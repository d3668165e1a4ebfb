"""The report of a search, from real searches on small stores."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ames_ray.cli.main import main
from ames_ray.report.shell import escape
from tests.report.runs import benchmark, make_input, run, tuned
from tests.report.test_page import Blocks


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tuning")
    make_input(folder)
    return folder


def evaluated(here: Path, output: Path, setting: dict[str, float]) -> float:
    """What `ames-ray evaluate` measures for a setting."""
    words = [f"{name}={value}" for name, value in setting.items()]
    made = run(here, output, f"model={here / 'model.safetensors'}", *words)
    return float(json.loads(made.read_bytes())["best"]["figures"]["medium_mAP"])


def test_the_exact_answer_with_its_landscape(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = tuned(here, tmp_path / "out", "exact", capsys)
    page = tmp_path / "out" / "exact" / "report.html"
    left = page.read_bytes()
    page.unlink()
    assert main(["report", str(tmp_path / "out")]) == 0
    assert page.read_bytes() == left
    assert capsys.readouterr().out.strip() == f"written: {page}"
    text = page.read_text()
    result = json.loads((page.parent / "result.json").read_bytes())
    assert f"<code>{escape(command)}</code>" in text
    assert f"<b>{100 * result['best']['value']:.2f}</b>" in text
    assert text.count('class="optimum"') == 1
    (field,) = Blocks(text).islands()["readouts"]
    assert (len(field["x"]), len(field["y"])) == (101, 20)
    for column, row in ((0, 0), (40, 7), (100, 19)):
        setting = {"lamb": field["x"][column], "temp": field["y"][row], "num_rerank": 10}
        measured = evaluated(here, tmp_path / "evaluated", setting)
        assert field["cells"][row][column] == pytest.approx(10_000 * measured, abs=0.501)


def test_a_page_that_cannot_be_written_does_not_cost_the_result(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out" / "exact" / "report.html" / "in-the-way").mkdir(parents=True)
    words = [
        f"{name}={path}"
        for name, path in (("model", here / "model.safetensors"), ("output", tmp_path / "out"))
    ]
    assert main(["tune", *benchmark(here), *words, "sweep=exact", "num_rerank=15"]) == 0
    told = capsys.readouterr().out
    # A table breaks lines where its width ends, in long paths as well.
    assert "ames-rayreport" in "".join(told.partition("page")[2].split())
    assert "use it: ames-ray evaluate" in told
    assert json.loads((tmp_path / "out" / "exact" / "result.json").read_bytes())["best"]["value"] > 0


def test_scores_that_are_gone_leave_a_page_without_a_map(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tuned(here, tmp_path / "out", "exact", capsys)
    for path in (tmp_path / "out").glob("scores-*"):
        path.unlink()
    assert main(["report", str(tmp_path / "out" / "exact")]) == 0
    assert "note: no map over λ and γ" in capsys.readouterr().out
    text = (tmp_path / "out" / "exact" / "report.html").read_text()
    assert "not in the folder around it any more" in text
    assert "Use it" in text
    assert Blocks(text).islands()["readouts"] == []


@pytest.mark.parametrize("content", ["{", "[]", '{"best": 1, "card": {}}'])
def test_other_files_are_refused(tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "result.json").write_text(content)
    assert main(["report", str(tmp_path)]) == 2
    assert "is no result of `ames-ray tune`" in capsys.readouterr().err
