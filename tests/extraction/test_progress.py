from __future__ import annotations

import pytest

from ames_ray.errors import ResourceError
from ames_ray.extraction.device import choose_device
from ames_ray.extraction.plan import size
from ames_ray.extraction.progress import Progress


@pytest.mark.parametrize(
    ("progress", "words"),
    [
        (Progress(10, 0, waiting=1, computing=9), "the network is the limit: busy 90 %"),
        (Progress(10, 0, waiting=8.8, computing=1.2), "decoding is the limit: network busy 12 %"),
        (Progress(10, 0, waiting=1, computing=4, writing=5), "writing is the limit: network busy 40 %"),
        (Progress(), "decoding is the limit: network busy 0 %"),
    ],
)
def test_the_limit_is_named(progress: Progress, words: str) -> None:
    assert progress.limit().startswith(words)


def test_progress_adds_up() -> None:
    parts = [Progress(1, 2, 3.0, 4.0, 5.0), Progress(10, 20, 30.0, 40.0, 50.0)]
    assert sum(parts, Progress()) == Progress(11, 22, 33.0, 44.0, 55.0)


def test_without_a_reserved_gpu_the_cpu_is_taken() -> None:
    assert choose_device("auto", []) == "cpu"
    assert choose_device("cpu", [0]) == "cpu"
    with pytest.raises(ResourceError, match="no GPU was reserved"):
        choose_device("cuda", [])


def test_a_reserved_gpu_that_torch_cannot_see_is_said() -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        assert choose_device("auto", [0]) == "cuda:0"
    else:
        with pytest.raises(ResourceError, match="GPU 1 is reserved for the worker, but torch"):
            choose_device("auto", [1])


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 B"), (999, "999 B"), (1_075_200, "1.1 MB"), (2.2e12, "2.2 TB"), (9e15, "9000.0 TB")],
)
def test_sizes_read_well(count: float, words: str) -> None:
    assert size(count) == words
