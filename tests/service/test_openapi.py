"""The app against its own OpenAPI description: requests made from it, answers checked with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("schemathesis")
pytest.importorskip("fastapi")
import schemathesis
from hypothesis import given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks as openapi

from ames_ray.config.compose import compose
from ames_ray.config.serve import ServeConfig
from ames_ray.service.app import make_app
from ames_ray.service.engine import SearchEngine
from tests.photos import GOLDEN_PHOTOS

# What the bytes of a photo are, no description can say: photos, and anything at all.
_PHOTO = (GOLDEN_PHOTOS / "coffee_280x210.png").read_bytes()
_BYTES = st.one_of(st.just(_PHOTO), st.binary(max_size=64), st.just(_PHOTO[:999]))
schemathesis.openapi.media_type("image/*", _BYTES)
schemathesis.openapi.format("binary", _BYTES)
_HOST = {"host": "localhost"}
_CHECKS = [
    not_a_server_error,
    openapi.content_type_conformance,
    openapi.response_headers_conformance,
    openapi.response_schema_conformance,
    openapi.status_code_conformance,
    openapi.unsupported_method,
]


@pytest.fixture(scope="module")
def description(folder: Path) -> Any:
    engine = SearchEngine(compose(ServeConfig, [f"store={folder / 'store'}", "num_rerank=3"]), "cpu")
    return schemathesis.openapi.from_asgi("/openapi.json", make_app(engine), headers=_HOST)


@pytest.mark.parametrize(
    ("path", "method", "examples"),
    [("/search", "POST", 30), ("/thumbnail/{row}", "GET", 15)],
)
def test_every_answer_is_as_described(description: Any, path: str, method: str, examples: int) -> None:
    """To requests as described, and to others."""
    route = description[path][method]

    @settings(max_examples=examples)
    @given(case=st.one_of(*(route.as_strategy(generation_mode=mode) for mode in GenerationMode)))
    def check(case: Any) -> None:
        case.call_and_validate(checks=_CHECKS, headers=_HOST)

    check()


def test_the_description_names_models_and_problems(description: Any) -> None:
    raw = description.raw_schema
    assert set(raw["paths"]) == {"/search", "/thumbnail/{row}", "/health"}
    answers = raw["paths"]["/search"]["post"]["responses"]
    assert set(answers) == {"200", "400", "408", "413", "415", "422", "500", "503"}
    assert answers["200"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Answer"}
    assert "Retry-After" in answers["503"]["headers"]
    problem = {"schema": {"$ref": "#/components/schemas/Problem"}}
    assert all(
        answers[status]["content"] == {"application/problem+json": problem}
        for status in answers
        if status != "200"
    )
    assert {"Answer", "Found", "Why", "Match", "Health", "Problem"} <= set(raw["components"]["schemas"])
