"""`torch.hub.load` on a checkout, as the authors' users type it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from ames_ray.downloads import CACHE_VARIABLE
from ames_ray.errors import WeightsError
from ames_ray.model.checkpoints import save_ames
from ames_ray.model.options import BUNDLED, PUBLISHED
from tests.model.networks import random_model

FOLDER = Path(__file__).parents[2]


def _load(name: str, **options: Any) -> Any:
    load: Any = torch.hub.load
    return load(str(FOLDER), name, source="local", **options)


@pytest.mark.parametrize("name", [*PUBLISHED, *BUNDLED])
def test_without_weights(name: str) -> None:
    model = _load(name, pretrained=False)
    width = {**PUBLISHED, **BUNDLED}[name].descriptor_dim
    query, gallery = torch.rand(1, 100, width), torch.rand(1, 100, width)
    with torch.no_grad():
        logits = model(src_local=query, tgt_local=gallery)
        masked = model(
            src_local=query,
            tgt_local=gallery,
            src_mask=torch.zeros(1, 100, dtype=torch.bool),
            tgt_mask=torch.arange(100)[None] >= 50,
        )
        half = model(src_local=query, tgt_local=gallery[:, :50])
    assert logits.shape == (1,)
    torch.testing.assert_close(masked, half, atol=1e-5, rtol=1e-5)
    assert not torch.equal(masked, logits)


def test_with_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    model = random_model(PUBLISHED["dinov2_ames"])
    save_ames(model, tmp_path / "networks/dinov2_ames.pt")
    loaded = _load("dinov2_ames")
    query, gallery = torch.rand(1, 10, 768), torch.rand(1, 10, 768)
    with torch.no_grad():
        assert torch.equal(loaded(src_local=query, tgt_local=gallery), model(query, gallery))
    save_ames(model, tmp_path / "networks/cvnet_ames.pt")
    with pytest.raises(WeightsError, match="the file of cvnet_ames holds"):
        _load("cvnet_ames")
