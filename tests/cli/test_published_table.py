"""The rows of docs/paper.md on small files of the same layout."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from ames_ray.cli.main import main
from ames_ray.downloads import CACHE_VARIABLE
from ames_ray.evaluation.scores import Shortlist
from ames_ray.model.checkpoints import save_ames
from ames_ray.model.dense import dense_forward
from ames_ray.model.options import PUBLISHED
from ames_ray.retrieval.kept import read_shortlist, write_shortlist
from ames_ray.store.reader import Store
from tests.cli.test_authors_commands import PUBLISHED_ROWS
from tests.evaluation import oracle
from tests.model.networks import random_model
from tests.retrieval.test_authors_release import GALLERY, GND, QUERIES, write


@pytest.fixture(scope="module")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two data sets of the same few made-up images, three descriptors each, as wide as both backbones'."""
    root = tmp_path_factory.mktemp("published")
    random = np.random.default_rng(0)
    ranking = Shortlist(
        random.permuted(np.tile(np.arange(GALLERY), (QUERIES, 1)), axis=1),
        -np.sort(-random.random((QUERIES, GALLERY), np.float32), axis=1),
    )
    names = {"imlist": [f"image{n}" for n in range(GALLERY)], "qimlist": [f"q{n}" for n in range(QUERIES)]}
    for options in PUBLISHED.values():
        for split, images in (("query", QUERIES), ("gallery", GALLERY)):
            features = random.standard_normal((images, 3, 5 + options.descriptor_dim)).astype(np.float32)
            features[..., 2:4] = 0
            for folder in ("roxford5k", "rparis6k"):
                name = f"{(options.backbone or '').partition('_')[0]}_{split}_local.hdf5"
                write(root / folder / name, features)
    for folder in ("roxford5k", "rparis6k"):
        (root / folder / f"gnd_{folder}.pkl").write_bytes(pickle.dumps({**names, "gnd": GND}))
        write_shortlist(ranking, str(root / folder / "nn_superglobal.pkl"))
    return root


@pytest.mark.parametrize(
    ("model", "test_dataset"),
    [
        ("dinov2_ames", "roxford5k"),
        ("cvnet_ames_dist", "rparis6k"),
        pytest.param("dinov2_ames_dist", "rparis6k", marks=pytest.mark.slow),
        pytest.param("cvnet_ames", "roxford5k", marks=pytest.mark.slow),
    ],
)
def test_a_row_of_the_published_table_is_what_the_textbook_computes(
    model: str, test_dataset: str, data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With random weights in place of the published ones."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    network = random_model(PUBLISHED[model])
    (tmp_path / "networks").mkdir()
    save_ames(network, tmp_path / "networks" / f"{model}.pt")
    desc_name, lamb, temp = PUBLISHED_ROWS[model]

    here = data_root / test_dataset
    query, gallery = (
        Store.open(str(here / f"{desc_name}_{split}_local.hdf5")) for split in ("query", "gallery")
    )
    left, right = (store.read(range(len(store.manifest))).descriptors for store in (query, gallery))
    first = read_shortlist(str(here / "nn_superglobal.pkl"))
    expected: dict[str, list[float]] = {"medium": [], "hard": []}
    for number, gnd in enumerate(GND):
        with torch.no_grad():
            pairs = torch.from_numpy(left[[number] * GALLERY]), torch.from_numpy(right)
            logits = dict(enumerate(dense_forward(network, *pairs).similarity.tolist()))
        similar = dict(zip(first.rows[number].tolist(), first.similarities[number].tolist(), strict=True))
        for setup, values in expected.items():
            positives, ignored = oracle.pools(gnd, setup)
            ranking = oracle.without(first.rows[number].tolist(), ignored)
            ranking = oracle.reranked(ranking, similar, logits, lamb, temp, 1600)
            values.append(oracle.trapezoid_ap(ranking, positives))
    words = ["experiment=published_table", f"model={model}", f"test_dataset={test_dataset}"]
    output = tmp_path / "out"
    assert main(["evaluate", *words, f"data_root={data_root}", f"output={output}"]) == 0
    (row,) = json.loads(next(output.glob("evaluation-*.json")).read_text())["rows"]
    for setup, values in expected.items():
        assert row[f"{setup}_mAP"] == pytest.approx(oracle.mean(values), abs=1e-9)
