from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ames_ray.backbones.registry import BACKBONES
from ames_ray.cli.verbs import VERBS
from ames_ray.config.compose import compose, config_folder, group_choices
from ames_ray.config.extract import CheckConfig, ExtractConfig
from ames_ray.config.report import CompareConfig
from ames_ray.config.retrieval import EvaluateConfig, NeighborsConfig, ScoreConfig
from ames_ray.config.search import SearchConfig
from ames_ray.config.serve import ServeConfig
from ames_ray.config.store import ExportConfig, ImportConfig, InfoConfig
from ames_ray.config.train_detector import TrainDetectorConfig
from ames_ray.config.tune import TuneConfig
from ames_ray.errors import ConfigError

NEEDED = ["images=photos", "output=store"]


def test_defaults_come_from_the_backbone_group() -> None:
    assert compose(ExtractConfig, NEEDED).topk == 300
    dinov2 = compose(ExtractConfig, [*NEEDED, "backbone=dinov2"])
    assert (dinov2.topk, dinov2.imsize) == (700, 770)


@pytest.mark.parametrize(
    ("job", "backbone"),
    [
        *((ExtractConfig, backbone) for backbone in ("sift", "dinov2", "dinov2_vits14_reg", "cvnet")),
        *((TrainDetectorConfig, backbone) for backbone in ("dinov2", "dinov2_vits14_reg", "cvnet")),
    ],
)
def test_what_a_backbone_brings_is_said_where_the_help_shows_another_default(
    job: type[ExtractConfig | TrainDetectorConfig], backbone: str
) -> None:
    composed = compose(job, [*NEEDED, f"backbone={backbone}"])
    given = {"images", "output", "backbone"}
    for name, field in job.model_fields.items():
        value = getattr(composed, name)
        if name not in given and value != field.default:
            assert f"{backbone.partition('_')[0]}: {value}" in str(field.description)


def test_a_setting_beats_its_group_whatever_the_order() -> None:
    for words in (["topk=100", "backbone=dinov2"], ["backbone=dinov2", "topk=100"]):
        assert compose(ExtractConfig, [*NEEDED, *words]).topk == 100


def test_r1m_keeps_truncated_pictures_and_says_so_in_the_configuration() -> None:
    words = ["dataset=roxford5k+r1m", "data_root=/data", "output=s"]
    assert compose(ExtractConfig, words).truncated == "keep"
    assert compose(ExtractConfig, [*words, "truncated=fail"]).truncated == "fail"


def test_relative_paths_become_absolute_and_addresses_stay() -> None:
    config = compose(ExtractConfig, ["images=photos", "output=s3://bucket/store"])
    assert config.images == str(Path("photos").absolute())
    assert config.output == "s3://bucket/store"
    config = compose(ExtractConfig, ["images=~/photos", "output=file:///my/store"])
    assert config.images == str(Path.home() / "photos")
    assert config.output == "/my/store"


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["topkk=3"], "extract has no setting 'topkk'", "did you mean topk?"),
        (["topk=many"], "topk='many'", "local descriptors kept per image"),
        (["topk=0"], "topk=0", "strongest first"),
        (["backbone=dinov3"], "backbone=dinov3: there is no such backbone", "did you mean dinov2"),
        (["dataset=roxfrod5k"], "dataset=roxfrod5k: there is no such dataset", "did you mean roxford5k"),
        (["desc_name=dinov2"], "'desc_name' is called 'backbone' here", "write backbone=dinov2"),
        (["save_path=x"], "'save_path' is called 'output' here", "write output=x"),
        (["photos/"], "'photos/' is not of the form key=value", ""),
        (["format=zarr"], "format='zarr'", "file format of the shards"),
        (["reranker=other"], "reranker=other needs projection=", "the weights of that re-ranker"),
        (["stall_timeout=inf"], "stall_timeout=inf: Input should be a finite number", "stop, resumable"),
        (
            ["images=~nobody-here/x"],
            "~nobody-here/x begins with the home of a user",
            "write ./~nobody-here/x if",
        ),
        (["detector=~nobody-here/x"], "~nobody-here/x begins with the home of a user", ""),
        (["dataset=r1m"], "images= goes with dataset=folder", ""),
    ],
)
def test_errors_name_the_key_the_value_and_the_fix(words: list[str], message: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compose(ExtractConfig, [*NEEDED, *words])
    assert message in caught.value.message
    assert hint in (caught.value.hint or "")


def test_what_is_missing_is_named() -> None:
    with pytest.raises(ConfigError, match="extract needs output="):
        compose(ExtractConfig, ["images=photos"])
    with pytest.raises(ConfigError, match="pass images=FOLDER or dataset=NAME"):
        compose(CheckConfig, [])


def test_a_backbone_may_be_a_hugging_face_model_or_a_function_of_ones_own() -> None:
    for backbone in ("hf:facebook/dinov2-small", "hf:/models/a=b", "my_package.net:build"):
        assert compose(ExtractConfig, [*NEEDED, f"backbone={backbone}"]).backbone == backbone


def test_a_store_is_named_without_its_key() -> None:
    assert compose(InfoConfig, ["store/"]) == compose(InfoConfig, ["store=store/"])


def test_lists_and_mappings_in_the_authors_users_grammar() -> None:
    config = compose(
        ImportConfig,
        ["inputs=[a.hdf5,b.hdf5]", "globals={cls: c.pt}", "list_file=l.txt", "data_root=/d", "output=s"],
    )
    assert config.inputs == [str(Path("a.hdf5").absolute()), str(Path("b.hdf5").absolute())]
    assert config.globals == {"cls": str(Path("c.pt").absolute())}


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ("/my features/a=b.hdf5", "/my features/a=b.hdf5"),
        ("/jürgen/o'neil.hdf5", "/jürgen/o'neil.hdf5"),
        ("'/a, b.hdf5'", "/a, b.hdf5"),
        ('"/x: {1}.hdf5"', "/x: {1}.hdf5"),
        ("/2024_01", "/2024_01"),
        ("s3://bucket/a.hdf5?endpoint_override=host:9000&scheme=http",) * 2,
    ],
)
def test_the_files_of_a_mapping_are_taken_as_they_are(written: str, path: str) -> None:
    words = ["inputs=[/a]", "list_file=/l", "data_root=/d", "output=/s"]
    for word in (f"{{cls:{written}}}", f"{{ cls: {written} }}", f"{{global: /g, cls: {written}}}"):
        assert compose(ImportConfig, [*words, f"globals={word}"]).globals["cls"] == path


@pytest.mark.parametrize(
    ("word", "names"),
    [
        ("0.80", ["0.80"]),
        ("[0.7, 0.80]", ["0.7", "0.80"]),
        ("['0.8']", ["0.8"]),
        ("2024_01", ["2024_01"]),
        ("[2024_01,1e3,-1,true]", ["2024_01", "1e3", "-1", "true"]),
        ("[dinov2_ames,0.7]", ["dinov2_ames", "0.7"]),
        ("my 2 networks", ["my 2 networks"]),
        ("jürgen/x (1)", ["jürgen/x (1)"]),
        ("[jürgen/x (1),'a, b',\"it's\"]", ["jürgen/x (1)", "a, b", "it's"]),
    ],
)
def test_a_number_in_a_list_of_names_is_a_name(word: str, names: list[str]) -> None:
    words = ["query=q", "ground_truth=gnd.json", "reranker=mutual", "output=o"]
    assert compose(TuneConfig, [*words, "gallery=g", f"model={word}"]).model == names
    gallery = compose(TuneConfig, [*words, f"gallery={word}", "model=m"]).gallery
    assert gallery == [str(Path(name).absolute()) for name in names]


@pytest.mark.parametrize(
    ("job", "words"),
    [
        (EvaluateConfig, ["query=q", "gallery=g", "ground_truth=gnd.json", "output=o"]),
        (SearchConfig, ["me.jpg", "store=s", "output=o"]),
        (ServeConfig, ["store=s"]),
    ],
)
def test_a_kind_of_reranker_alone_is_refused(
    job: type[EvaluateConfig | SearchConfig | ServeConfig], words: list[str]
) -> None:
    assert compose(job, words).model is None
    with pytest.raises(ConfigError, match="reranker=mutual needs model=") as caught:
        compose(job, [*words, "reranker=mutual"])
    assert "such as model=0.6" in str(caught.value)
    assert compose(job, [*words, "reranker=mutual", "model=0.6"]).model == "0.6"


def test_a_list_of_names_may_be_left_out_by_null() -> None:
    words = ["query=q", "gallery=g", "ground_truth=gnd.json", "nn_file=nn.parquet", "scores=s.parquet"]
    assert compose(TuneConfig, [*words, "model=null", "output=o"]).model is None


text = st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"]), min_size=1).filter(
    lambda t: t.strip() == t and t != "null"
)


@settings(max_examples=15, deadline=None)
@given(text)
def test_any_path_survives_the_grammar(name: str) -> None:
    path = str(Path(f"/x/{name}"))
    assert compose(ExportConfig, ["store", f"output=/x/{name}"]).output == path
    words = ["query=/q", "output=/nn.parquet"]
    assert compose(NeighborsConfig, [*words, f"gallery=/x/{name}"]).gallery == [path]
    if "," not in name:
        assert compose(NeighborsConfig, [*words, f"gallery=[/g, /x/{name}]"]).gallery == ["/g", path]
        words = ["inputs=[/a]", "list_file=/l", "data_root=/d", "output=/s"]
        found = compose(ImportConfig, [*words, f"globals={{cls: /x/{name}, global:/g}}"]).globals
        assert found == {"cls": path, "global": "/g"}


def test_every_group_file_is_valid_yaml_and_holds_known_settings() -> None:
    for group in ("backbone", "dataset"):
        for name in group_choices(group):
            values = yaml.safe_load((config_folder() / group / f"{name}.yaml").read_text())
            assert set(values) <= ExtractConfig.setting_names(), name
            assert values[group] == name


def test_the_backbones_to_choose_from_are_those_that_there_are() -> None:
    assert set(group_choices("backbone")) == set(BACKBONES)
    with pytest.raises(ConfigError, match="backbone=own: there is no such backbone"):
        compose(ExtractConfig, [*NEEDED, "backbone=own"])


def test_every_verb_has_examples_that_compose() -> None:
    jobs = [(n, v.load_config(kind.split())) for n, v in VERBS.items() for kind in ("", *v.kinds)]
    for name, job in jobs:
        assert job.verb == name
        assert len(job.examples) >= 1
        for example in job.examples:
            words = (
                example.replace("python jobs/extract.py", f"ames-ray {name}").split("ames-ray ")[-1].split()
            )
            assert " ".join(words[: len(name.split())]) == name
            compose(job, words[len(name.split()) :])


def test_an_address_with_options_is_one_value() -> None:
    address = "s3://bucket/store?endpoint_override=host:9000&scheme=http"
    assert compose(InfoConfig, [address]).store == address
    assert compose(NeighborsConfig, ["query=q", f"gallery={address}", "output=nn.parquet"]).gallery == [
        address
    ]
    assert compose(InfoConfig, ["stores/a=b"]).store == str(Path("stores/a=b").absolute())


def test_an_option_of_another_style_is_no_path() -> None:
    with pytest.raises(ConfigError, match="'--store' is not of the form key=value") as caught:
        compose(SearchConfig, ["--store", "store/", "me.jpg", "output=page/"])
    assert caught.value.hint == "write store=…"


def test_words_without_a_name_go_to_the_settings_in_turn() -> None:
    assert compose(CompareConfig, ["a.json", "b.json", "queries=3"]) == compose(
        CompareConfig, ["first=a.json", "second=b.json", "queries=3"]
    )
    with pytest.raises(ConfigError, match=r"'c\.json' is not of the form key=value"):
        compose(CompareConfig, ["a.json", "b.json", "c.json"])


PAIR = ["query=q", "gallery=g", "output=o"]


@pytest.mark.parametrize(
    ("job", "words", "message"),
    [
        (
            ScoreConfig,
            ["nn_file=n", "model=m", "output=s.parquet", "protocol=gldv2-val"],
            "protocol=gldv2-val",
        ),
        (EvaluateConfig, ["ground_truth=t", "data_root=/data"], "data_root=/data holds several data sets"),
        (TuneConfig, ["ground_truth=t", "model=m", "data_root=/data"], "data_root=/data holds several"),
        (EvaluateConfig, ["ground_truth=t", "nn_file=n", "index=ivf"], "index=ivf makes a first ranking"),
        (EvaluateConfig, ["ground_truth=t", "ensemble=cvnet"], "ensemble=cvnet is a setting of a model"),
        (EvaluateConfig, ["ground_truth=t", "lamb=[0.1,0.9]"], "lamb=[0.1, 0.9] is a setting of a model"),
        (EvaluateConfig, ["ground_truth=t", "db_desc_num=5"], "db_desc_num=5 is a setting of a model"),
    ],
)
def test_what_would_have_no_effect_beside_the_rest_is_refused(
    job: type[ScoreConfig | EvaluateConfig | TuneConfig], words: list[str], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        compose(job, [*PAIR, *words])
    assert message in caught.value.message
