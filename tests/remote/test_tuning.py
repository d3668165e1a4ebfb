"""A search for the exact optimum whose results go to a bucket."""

from __future__ import annotations

from pathlib import Path

from ames_ray.cli.main import main
from tests.remote.server import BUCKET, S3Server, contents
from tests.report.runs import benchmark, make_input


def test_result_and_page_go_to_the_bucket(s3: S3Server, tmp_path: Path) -> None:
    make_input(tmp_path)
    output = f"s3://{BUCKET}/tuning"
    words = [f"model={tmp_path / 'model.safetensors'}", "sweep=exact", "num_rerank=15"]
    for folder in (output, tmp_path / "tuning"):
        assert main(["tune", *benchmark(tmp_path), *words, f"output={folder}"]) == 0
    found = contents(s3, "tuning/exact/")
    assert {Path(name).name for name in found} == {p.name for p in (tmp_path / "tuning" / "exact").iterdir()}
    assert main(["report", f"{output}/exact", f"output={tmp_path / 'report.html'}"]) == 0
    assert (tmp_path / "report.html").read_bytes() == found["tuning/exact/report.html"]
