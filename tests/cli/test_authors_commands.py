"""The authors' command lines: what replaces each, and what their own words are answered with."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ames_ray.cli.main import main
from ames_ray.cli.verbs import VERBS
from ames_ray.config.compose import compose
from ames_ray.errors import ConfigError
from ames_ray.store.convert import export_hdf5
from ames_ray.store.reader import Store
from tests.datasets.authors_data import make_authors_data
from tests.training.landmarks import make_training_folder
from tests.training.runs import numbers, words

PAGE = Path(__file__).resolve().parents[2] / "docs" / "from-the-authors.md"
EVALUATE = ["ground_truth=gnd.pkl", "query=q", "gallery=g", "output=results"]
EXTRACT = ["data_root=/data", "output=stores/x"]
TRAIN = ["store=stores/train", "nn_file=nn.pkl", "output=runs/x"]

# verb, our words, what they give: a line for each line of the map.
OURS: list[tuple[str, list[str], dict[str, Any]]] = [
    ("evaluate", [*EVALUATE, "model=dinov2_ames.pt"], {"model": "dinov2_ames.pt", "device": "auto"}),
    (
        "evaluate",
        [*EVALUATE, "model=dinov2_ames"],
        {
            "query_desc_num": 600,
            "db_desc_num": 600,
            "batch_size": 300,
            "lamb": [0.5],
            "temp": [0.5],
            "num_rerank": [100, 400],
        },
    ),
    (
        "evaluate",
        [*EVALUATE, "model=x.pt", "lamb=[0.55]", "temp=[0.3]", "num_rerank=[1600]", "batch_size=300"],
        {"lamb": [0.55], "temp": [0.3], "num_rerank": [1600], "batch_size": 300},
    ),
    (
        "evaluate",
        [*EVALUATE, "model=x.pt", "query_desc_num=100", "db_desc_num=50", "device=cpu", "workers=4"],
        {"query_desc_num": 100, "db_desc_num": 50, "device": "cpu", "workers": 4},
    ),
    (
        "train",
        [*TRAIN, "binary=true", "teacher=dinov2_ames.pt", "batch_size=100", "max_desc=400"],
        {
            "binary": True,
            "teacher": "dinov2_ames.pt",
            "batch_size": 100,
            "max_desc": 400,
            "num_neighbors": 300,
            "epochs": 15,
            "lr": 2e-4,
            "weight_decay": 5e-4,
            "beta": 10.0,
        },
    ),
    *(
        (
            "extract",
            [*EXTRACT, f"dataset={dataset}", f"split={split}", "backbone=dinov2", "detector=d.pt"],
            {"dataset": dataset, "split": split, "topk": 700, "imsize": 770, "detector": "d.pt"},
        )
        for dataset, split in (
            ("roxford5k", "gallery"),
            ("roxford5k", "query"),
            ("rparis6k", "gallery"),
            ("gldv2_train", "train"),
        )
    ),
    (
        "extract",
        [*EXTRACT, "dataset=roxford5k", "backbone=cvnet", "topk=600", "imsize=1024", "workers=2"],
        {"backbone": "cvnet", "topk": 600, "imsize": 1024, "workers": 2},
    ),
    (
        "extract",
        [*EXTRACT, "dataset=list", "list_file=/data/test_gallery.txt"],
        {"dataset": "list", "list_file": "/data/test_gallery.txt"},
    ),
    (
        "neighbors",
        [
            "query=/data/roxford5k/dinov2_query_local.hdf5",
            "gallery=[/data/roxford5k/dinov2_gallery_local.hdf5,/data/revisitop1m/dinov2_local.hdf5]",
            "pooled=cls",
            "shortlist_size=1600",
            "output=/data/roxford5k/nn_dinov2.pkl",
        ],
        {"pooled": "cls", "shortlist_size": 1600, "output": "/data/roxford5k/nn_dinov2.pkl"},
    ),
    (
        "store merge",
        ["stores=[/s/xaa,/s/xab]", "output=/s/r1m"],
        {"stores": ["/s/xaa", "/s/xab"], "output": "/s/r1m"},
    ),
    (
        "store import",
        [
            "inputs=[/d/dinov2_xaa_local.hdf5,/d/dinov2_xab_local.hdf5]",
            "list_file=/d/revisitop1m.txt",
            "data_root=/d",
            "output=/s/r1m",
        ],
        {"inputs": ["/d/dinov2_xaa_local.hdf5", "/d/dinov2_xab_local.hdf5"], "data_root": "/d"},
    ),
    (
        "store export",
        ["/s/gallery", "output=/d/dinov2_gallery_local.hdf5"],
        {"store": "/s/gallery", "output": "/d/dinov2_gallery_local.hdf5", "layout": "plain"},
    ),
]

# verb, what their users type, what the answer names.
THEIRS: list[tuple[str, str, str]] = [
    ("evaluate", "--multirun", "a list is a sweep"),
    ("evaluate", "descriptors=dinov2", "write desc_name=dinov2"),
    ("evaluate", "model_path=dinov2_ames.pt", "write model=dinov2_ames.pt"),
    ("evaluate", "model.binarized=True", "the weights file tells"),
    ("evaluate", "dataset@test_dataset=roxford+1m", "write test_dataset=roxford+1m"),
    ("evaluate", "test_dataset.query_desc_num=600", "write query_desc_num=600"),
    ("evaluate", "test_dataset.db_desc_num=600", "write db_desc_num=600"),
    ("evaluate", "test_dataset.batch_size=300", "write batch_size=300"),
    ("evaluate", "test_dataset.lamb=[0.55]", "write lamb=[0.55]"),
    ("evaluate", "test_dataset.temp=[0.3]", "write temp=[0.3]"),
    ("evaluate", "test_dataset.num_rerank=[1600]", "write num_rerank=[1600]"),
    ("evaluate", "test_dataset.nn_file=nn.pkl", "write nn_file=nn.pkl"),
    ("evaluate", "seed=0", "nothing is drawn"),
    ("evaluate", "cpu=True", "write device=cpu"),
    ("evaluate", "num_workers=4", "write workers=4"),
    ("evaluate", "query_sequence_len=600", "write query_desc_num=600"),
    ("evaluate", "test_dataset.sequence_len=600", "write db_desc_num=600"),
    ("evaluate", "resume=model.pt", "write model=model.pt"),
    ("train", "--multirun", "`ames-ray tune sweep=training` tries many settings"),
    ("train", "desc_name=dinov2", "store="),
    ("train", "data_root=/data", "store="),
    ("train", "model.binarized=True", "write binary=True"),
    ("train", "train_dataset.batch_size=300", "300 is batch_size=100"),
    ("train", "train_dataset.query_desc_num=400", "write max_desc=400"),
    ("train", "train_dataset.db_desc_num=400", "write max_desc=400"),
    ("train", "train_dataset.num_candidates=300", "write num_neighbors=300"),
    ("train", "train_dataset.nn_file=nn.pkl", "write nn_file=nn.pkl"),
    ("train", "train_dataset.train_txt=train_750k.txt", "list_file="),
    ("train", "resume=last.pt", "write output=last.pt"),
    ("train", "val_freq=1", "every epoch is validated"),
    ("train", "print_freq=10", "log.csv"),
    ("train", "num_workers=8", "workers="),
    ("train", "cpu=True", "write device=cpu"),
    ("extract", "--dataset", "write dataset=…"),
    ("extract", "--backbone", "write backbone=…"),
    ("extract", "--save_path", "write output=…"),
    ("extract", "--data_path", "write data_root=…"),
    ("extract", "--split", "write split=…"),
    ("extract", "--file_name", "write list_file=…"),
    ("extract", "--desc_type", "written together"),
    ("extract", "--topk", "write topk=…"),
    ("extract", "--imsize=770", "write imsize=770"),
    ("extract", "--pretrained", "write detector=…"),
    ("extract", "--num_workers", "write workers=…"),
    ("neighbors", "--dataset", "query= and gallery="),
    ("neighbors", "--desc_name", "query= and gallery="),
    ("neighbors", "--data_root", "query= and gallery="),
    ("neighbors", "--shortlist_size", "write shortlist_size=…"),
    ("store merge", "--dataset", "stores=[A,B]"),
    ("store merge", "--desc_name", "stores=[A,B]"),
    ("store merge", "--data_root", "stores=[A,B]"),
]


@pytest.mark.parametrize(("verb", "words", "expected"), OURS)
def test_what_replaces_a_command_of_theirs(verb: str, words: list[str], expected: dict[str, Any]) -> None:
    found = compose(VERBS[verb].load_config(), words).model_dump()
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("name", "folder", "stores"),
    [
        ("roxford", "roxford5k", 1),
        ("rparis", "rparis6k", 1),
        ("roxford+1m", "roxford5k", 2),
        ("rparis+1m", "rparis6k", 2),
        ("gldv2-test", "gldv2-test", 1),
        ("gldv2-val", "gldv2-test", 1),
    ],
)
def test_their_test_sets_keep_their_names(name: str, folder: str, stores: int, tmp_path: Path) -> None:
    make_authors_data(tmp_path)
    words = [f"test_dataset={name}", "desc_name=cvnet", f"data_root={tmp_path}", "output=results"]
    found = compose(VERBS["evaluate"].load_config(), [*words, "model=cvnet_ames"]).model_dump()
    assert found["query"] == str(tmp_path / folder / "cvnet_query_local.hdf5")
    assert found["ground_truth"] == str(tmp_path / folder / f"gnd_{folder}.pkl")
    assert len(found["gallery"]) == stores
    assert found["protocol"] == (name if folder == "gldv2-test" else None)


def test_training_takes_their_files_as_they_are(tmp_path: Path) -> None:
    here = make_training_folder(tmp_path / "ours")
    train = Store.open(str(here / "train"))
    theirs = tmp_path / "gldv2"
    theirs.mkdir()
    export_hdf5(train, str(theirs / "dinov2_local.hdf5"), "plain")
    lines = [f"{record.image_id}.jpg,{record.label},120,100\n" for record in train.manifest]
    (theirs / "train_750k.txt").write_text("".join(lines))
    files = [f"store={theirs / 'dinov2_local.hdf5'}", f"nn_file={theirs / 'nn_dinov2.pkl'}"]
    near = [f"{side}={theirs / 'dinov2_local.hdf5'}" for side in ("query", "gallery")]
    near += ["exclude_self=true", "shortlist_size=null", f"output={theirs / 'nn_dinov2.pkl'}"]
    assert main(["neighbors", *near]) == 0
    assert main(["train", *words(here, tmp_path / "a")]) == 0
    others = [word for word in words(here, tmp_path / "b") if not word.startswith(("store=", "nn_file="))]
    assert main(["train", *files, *others]) == 0
    np.testing.assert_allclose(numbers(tmp_path / "b"), numbers(tmp_path / "a"), rtol=1e-5, atol=1e-7)


PUBLISHED_ROWS = {
    "dinov2_ames": ("dinov2", 0.5, 0.2),
    "dinov2_ames_dist": ("dinov2", 0.35, 0.1),
    "cvnet_ames": ("cvnet", 0.85, 0.8),
    "cvnet_ames_dist": ("cvnet", 0.65, 0.2),
}


@pytest.mark.parametrize("test_dataset", ["roxford5k", "rparis6k"])
@pytest.mark.parametrize("model", PUBLISHED_ROWS)
def test_each_row_of_the_published_table_is_one_command(
    model: str, test_dataset: str, tmp_path: Path
) -> None:
    make_authors_data(tmp_path)
    words = ["experiment=published_table", f"model={model}", f"test_dataset={test_dataset}"]
    job = VERBS["evaluate"].load_config()
    found = compose(job, [*words, f"data_root={tmp_path}", "output=results"]).model_dump()
    desc_name, lamb, temp = PUBLISHED_ROWS[model]
    assert (found["lamb"], found["temp"], found["num_rerank"]) == ([lamb], [temp], [1600])
    assert (found["query_desc_num"], found["db_desc_num"]) == (600, 600)
    assert found["query"] == str(tmp_path / test_dataset / f"{desc_name}_query_local.hdf5")
    assert found["nn_file"] == str(tmp_path / test_dataset / "nn_superglobal.pkl")


@pytest.mark.parametrize(("verb", "word", "answer"), THEIRS)
def test_their_words_are_answered_with_ours(verb: str, word: str, answer: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compose(VERBS[verb].load_config(), [word])
    assert answer in f"{caught.value.message} {caught.value.hint}"


@pytest.mark.parametrize("verb", VERBS)
def test_nothing_is_sent_to_a_setting_that_the_verb_lacks(verb: str) -> None:
    job = VERBS[verb].load_config()
    for name in job.moved:
        ours = job.moved_to(name)
        assert ours is None or ours.partition("=")[0] in job.setting_names()


@pytest.mark.parametrize("name", sorted({word.partition("=")[0] for _, word, _ in THEIRS}))
def test_the_page_names_every_option(name: str) -> None:
    assert re.search(rf"\b{re.escape(name.rpartition('.')[2].lstrip('-'))}\b", PAGE.read_text())
