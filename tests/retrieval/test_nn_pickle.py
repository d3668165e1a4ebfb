from __future__ import annotations

import io
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ames_ray.errors import DatasetError, UnsafeFileError
from ames_ray.evaluation.scores import Shortlist
from ames_ray.retrieval.nn_pickle import read_neighbors, write_neighbors

ROWS = np.array([[4, 0, 2], [1, 3, -1]])
SIMILARITIES = np.array([[0.9, 0.5, 0.25], [0.75, 0.125, np.nan]], np.float32)
BOTH = np.stack([SIMILARITIES, ROWS.astype(np.float32)])


def saved(value: Any, *, as_zip: bool = True) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=as_zip)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        pickle.dumps(torch.from_numpy(BOTH)),
        pickle.dumps(torch.from_numpy(BOTH).double(), protocol=2),
        pickle.dumps(torch.from_numpy(np.asfortranarray(BOTH)), protocol=4),
        saved(torch.from_numpy(BOTH)),
        saved(torch.from_numpy(BOTH), as_zip=False),
        pickle.dumps(BOTH),
    ],
    ids=["pickle", "double", "strided", "torch.save", "old torch.save", "numpy"],
)
def test_all_forms_of_the_file_are_read(data: bytes) -> None:
    found = read_neighbors(data, "nn.pkl")
    np.testing.assert_array_equal(found.rows, ROWS)
    np.testing.assert_array_equal(found.similarities, SIMILARITIES)
    assert found.query_manifest == ""


def test_what_we_write_plain_pickle_and_we_read_and_bytes_repeat(tmp_path: Path) -> None:
    data = write_neighbors(Shortlist(ROWS, SIMILARITIES))
    assert data == write_neighbors(Shortlist(ROWS.copy(), SIMILARITIES.copy()))
    (tmp_path / "nn.pkl").write_bytes(data)
    code = (
        "import pickle; t = pickle.load(open('nn.pkl', 'rb')); print(type(t).__name__, t.dtype, t.tolist())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("Tensor torch.float32 [[[0.8999")
    assert done.stdout.strip().endswith("[[4.0, 0.0, 2.0], [1.0, 3.0, -1.0]]]")
    np.testing.assert_array_equal(read_neighbors(data, "nn.pkl").rows, ROWS)


def test_rows_of_galleries_beyond_float32_stay_exact() -> None:
    rows = np.array([[(1 << 24) + 1, 3]])
    data = write_neighbors(Shortlist(rows, np.array([[0.5, 0.25]], np.float32)))
    np.testing.assert_array_equal(read_neighbors(data, "nn.pkl").rows, rows)


class _Evil:
    def __reduce__(self) -> Any:
        # Not print itself: Ray puts another one in its place.
        return exec, ("print('it ran')",)


class _EvilTensor:
    """Code inside the bytes that the tensor's own loader would read."""

    def __reduce__(self) -> Any:
        from torch.storage import _load_from_bytes

        return _load_from_bytes, (saved(_Evil()),)


def test_code_does_not_run(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UnsafeFileError, match=r"nn\.pkl wants builtins.exec"):
        read_neighbors(pickle.dumps(_Evil()), "nn.pkl")
    for data in (saved(_Evil()), pickle.dumps(_EvilTensor())):
        with pytest.raises(UnsafeFileError, match=r"nn\.pkl: .*would create .*exec"):
            read_neighbors(data, "nn.pkl")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.zeros(3, 2, 4), r"shape \(3, 2, 4\)"),
        (torch.zeros(2, 4), r"shape \(2, 4\)"),
        (torch.full((2, 1, 2), 0.5), "whole numbers"),
        (torch.full((2, 1, 2), torch.nan), "whole numbers"),
        ([1, 2], "holds a list"),
        (torch.zeros(2, 1, 1, dtype=torch.bool), "holds bool"),
        (torch.zeros(2, 1, 1, dtype=torch.bfloat16), "cannot be read as a tensor: .*BFloat16"),
        (torch.full((2, 1, 1), float((1 << 24) + 1)), "row 16777216 in float32, which is exact below 16,777"),
        (torch.full((2, 1, 1), 2049.0).half(), "row 2048 in float16, which is exact below 2,048"),
    ],
)
def test_other_content_is_refused(value: Any, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read_neighbors(pickle.dumps(value), "nn.pkl")


def test_damaged_files_are_refused() -> None:
    for data in (pickle.dumps(torch.from_numpy(BOTH)), saved(torch.from_numpy(BOTH))):
        for cut in (0, 1, 10, len(data) // 2, len(data) - 1):
            with pytest.raises(DatasetError, match=r"nn\.pkl cannot be read as a tensor: \w"):
                read_neighbors(data[:cut], "nn.pkl")
