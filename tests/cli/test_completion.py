"""Completion in a real bash."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from ames_ray.cli.completion import SHELLS, completion
from ames_ray.cli.main import main
from ames_ray.cli.verbs import VERBS


def _offered(line: str, folder: Path) -> set[str]:
    """What bash offers behind this line."""
    script = f"{completion('bash', VERBS)}\nCOMP_LINE={line!r}; COMP_POINT=${{#COMP_LINE}}\n_ames_ray\n"
    script += 'printf "%s\\n" "${COMPREPLY[@]}"'
    done = subprocess.run(["bash", "-c", script], cwd=folder, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_offers_verbs_settings_choices_and_files(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    assert {"extract", "store", "neighbors"} <= _offered("ames-ray ", tmp_path)
    assert _offered("ames-ray ext", tmp_path) == {"extract"}
    assert {"info", "verify", "retry"} <= _offered("ames-ray store ", tmp_path)
    assert _offered("ames-ray store ver", tmp_path) == {"verify"}
    assert _offered("ames-ray extract backb", tmp_path) == {"backbone="}
    assert {"sift", "cvnet"} <= _offered("ames-ray extract backbone=", tmp_path)
    assert _offered("ames-ray extract images=x overwrite=", tmp_path) == {"true", "false"}
    assert _offered("ames-ray extract images=ph", tmp_path) == {"photos"}


@pytest.mark.parametrize("shell", SHELLS)
def test_every_setting_is_in_every_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for verb in VERBS.values():
        for key in verb.load_config().model_fields:
            assert f"{key}=" in script


@pytest.mark.parametrize(
    ("words", "said"), [(["completion", "csh"], "bash, zsh, fish"), (["completion"], "bash")]
)
def test_other_shells_are_refused(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert said in capsys.readouterr().err
