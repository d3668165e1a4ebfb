"""Several values of a setting, as Hydra's own programs take them."""

from __future__ import annotations

import pytest

from ames_ray.config.compose import compose
from ames_ray.config.jobs import JobConfig
from ames_ray.config.retrieval import EvaluateConfig
from ames_ray.config.search import SearchConfig
from ames_ray.errors import ConfigError

NEEDED: dict[type[JobConfig], list[str]] = {
    EvaluateConfig: ["query=q", "gallery=g", "ground_truth=gnd.json", "output=out"],
    SearchConfig: ["me.jpg", "store=s", "output=out"],
}


@pytest.mark.parametrize(
    ("job", "word", "says", "hint"),
    [
        (EvaluateConfig, "lamb=0.1,0.9", "several values are a list", "write it as lamb=[0.1,0.9]"),
        (EvaluateConfig, "num_rerank=range(1,5)", "several values are a list", "num_rerank=[1,2]"),
        (SearchConfig, "bbox=1,2,30,40", "several values are a list", "write it as bbox=[1,2,30,40]"),
        (EvaluateConfig, "batch_size=100,300", "it takes one value", ""),
        (EvaluateConfig, "batch_size=choice(100,300)", "it takes one value", ""),
    ],
)
def test_they_are_answered_without_an_option_that_is_not_there(
    job: type[JobConfig], word: str, says: str, hint: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        compose(job, [*NEEDED[job], word])
    assert caught.value.message == f"{word}: {says}"
    assert hint in (caught.value.hint or "")
