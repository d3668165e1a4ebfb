"""`ames-ray compare` takes what `ames-ray report` takes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ames_ray.cli.main import main
from tests.report.runs import make_input, run


def test_a_folder_stands_for_its_one_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_input(tmp_path)
    result = run(tmp_path, tmp_path / "results")
    assert main(["compare", str(tmp_path / "results"), str(result)]) == 0
    assert "no choice differs" in capsys.readouterr().out

    shutil.copy(result, result.with_name("evaluation-0.json"))
    assert main(["compare", str(result), str(result.parent)]) == 2
    assert f"evaluation: {result}" in capsys.readouterr().err
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "log.csv").touch()
    for other, said in (("run", "run is of training, not of an evaluation"), ("no", "no holds nothing")):
        assert main(["compare", str(result), str(tmp_path / other)]) == 2
        assert said in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["compare", "report"])
def test_a_result_that_its_folder_stands_for_is_not_replaced(
    tmp_path: Path, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make_input(tmp_path)
    result = run(tmp_path, tmp_path / "results")
    content = result.read_bytes()
    folders = [str(result.parent)] * (2 if verb == "compare" else 1)
    assert main([verb, *folders, f"output={result}"]) == 2
    assert f"{result} would be lost" in capsys.readouterr().err
    assert result.read_bytes() == content
