"""Completion in a real bash."""

from __future__ import annotations

import contextlib
import os
import pty
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


def _typed(keys: str, folder: Path) -> list[str]:
    """The words that `ames-ray` is given where a person types this in bash."""
    (folder / "offered").write_text(completion("bash", VERBS))
    # A terminal, without which bash completes nothing; "ames-ray" only tells what it was given.
    ours, theirs = pty.openpty()
    tell = "ames-ray() { printf '%s\\n' \"$@\" > told; }"
    with subprocess.Popen(
        ["bash", "--norc", "--noprofile", "-i"],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "TERM": "dumb", "HOME": str(folder)},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    ) as shell:
        os.write(ours, f"{tell}\nsource ./offered\names-ray {keys}\nexit\n".encode())
        os.close(theirs)
        with contextlib.suppress(OSError):  # the terminal is gone when bash is
            while os.read(ours, 1024):
                pass
        shell.wait(timeout=60)
    os.close(ours)
    return (folder / "told").read_text().splitlines()


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_files_where_a_word_needs_no_name(tmp_path: Path) -> None:
    (tmp_path / "my photo.jpg").touch()
    (tmp_path / "stores").mkdir()
    assert _typed("search my\t store=st\t", tmp_path) == ["search", "my photo.jpg", "store=stores"]
    assert _typed("sto\t info ./st\t", tmp_path) == ["store", "info", "./stores/"]


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
