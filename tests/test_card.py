"""What sets two results apart."""

from __future__ import annotations

import pytest

from ames_ray.card import differences, refuse_other
from ames_ray.errors import ConfigError


def test_differences_of_nested_values() -> None:
    assert differences({"a": {"b": 1}}, {"a": {"b": 1}}) == []
    assert differences({"a": {"b": 1}}, {"a": {}}) == ['a.b: 1, now "not there"']


def test_a_setting_that_is_null_is_one_that_an_older_version_did_not_know() -> None:
    assert differences({"a": 1}, {"a": 1, "new": None}) == []
    assert differences({"a": 1}, {"a": 1, "new": 0}) == ['new: "not there", now 0']


def test_other_settings_are_refused_by_name() -> None:
    refuse_other({"sizes": [1, 2]}, {"sizes": (1, 2)}, "here lies a run", "go away")
    with pytest.raises(ConfigError) as caught:
        refuse_other({"lr": 1, "of": {"x": "y"}}, {"lr": 2, "of": {"x": None}}, "here lies a run", "go away")
    assert caught.value.message == 'here lies a run of other settings:\n  lr: 1, now 2\n  of.x: "y", now null'
