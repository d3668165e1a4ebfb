from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ames_ray.cli.main import main
from ames_ray.cli.verbs import VERBS

ROOT = Path(__file__).resolve().parents[2]
KEPT = "what is finished is kept, the same command goes on from there"
ANEW = KEPT.replace("command", "command without overwrite=true")
STRUCK = """
import os, signal, sys, threading, time
from ames_ray.cli.main import _interrupt, main

def strike():
    while signal.getsignal(signal.SIGTERM) is not _interrupt:
        time.sleep(0.001)
    os.kill(os.getpid(), signal.SIGTERM)

threading.Thread(target=strike, daemon=True).start()
sys.exit(main(sys.argv[1:]))
"""
"""A command that is sent SIGTERM as soon as it listens, which is before its verb is imported."""
HEAVY = ("torch", "ray", "transformers", "pydantic", "numpy", "cv2", "pyarrow")


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from ames_ray.cli.main import main; main(['--help']);"
        f"print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stderr.strip() == "[]"
    for name, verb in VERBS.items():
        assert f"{name} " in done.stdout
        assert verb.purpose in done.stdout
    first = (
        "demo",
        "extract",
        "search",
        "serve",
        "neighbors",
        "score",
        "evaluate",
        "train",
        "report",
        "store",
    )
    places = [done.stdout.index(f"\n  {name} ") for name in first]
    assert places == sorted(places)


@pytest.mark.parametrize("name", list(VERBS))
def test_every_verb_explains_its_settings(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*name.split(), "--help"]) == 0
    page = capsys.readouterr().out
    job = VERBS[name].load_config()
    assert VERBS[name].purpose in page
    for example in job.examples:
        assert example in page
    for key, field in job.model_fields.items():
        assert f"  {key}=" in page
        assert field.description, key
    required = ["=required " in line for line in page.splitlines() if re.match(r"  \w+=.*   \(", line)]
    assert len(required) == len(job.model_fields)
    assert required == sorted(required, reverse=True)


def test_types_are_told_as_people_write_them(capsys: pytest.CaptureFixture[str]) -> None:
    told = {}
    for verb in ("search", "evaluate", "extract"):
        assert main([verb, "--help"]) == 0
        for line in capsys.readouterr().out.splitlines():
            if line.endswith(")") and "   (" in line:
                setting, _, kind = line.partition("   (")
                told[verb, setting.strip().partition("=")[0]] = kind.removesuffix(")")
    assert told["search", "query"] == told["search", "store"] == told["extract", "output"] == "path"
    assert told["search", "ground_truth"] == told["extract", "images"] == "path or null"
    assert told["search", "model"] == "path or name or null"
    assert told["search", "bbox"] == "[float,float,float,float] or null"
    assert told["search", "pooled"] == "text"
    assert told["evaluate", "gallery"] == "list of path"
    assert told["evaluate", "lamb"] == "list of float"
    assert told["extract", "format"] == "parquet | hdf5"


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("config", ["ames-ray config extract"]),
        ("completion", ["source <(ames-ray completion bash)", "ames-ray completion fish | source"]),
        ("store", ["store info", "store verify", "Join stores"]),
        ("cluster", ["cluster check"]),
    ],
)
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_words_that_are_no_verbs_have_a_help_too(
    word: str, told: list[str], flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([word, flag]) == 0
    page = capsys.readouterr().out
    assert page.startswith(f"usage: ames-ray {word} ")
    assert all(line in page for line in told)


def test_the_job_script_is_the_same_command() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "jobs" / "extract.py", "--help"], capture_output=True, text=True, check=True
    )
    assert "ames-ray extract images=photos/ output=store/" in done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["extarct"], "did you mean 'extract'?"),
        (["store"], "one of: store info, store verify"),
        (["extract", "images=x", "output=y", "topkk=2"], "did you mean topk?"),
        (["store", "info", "nowhere"], "nowhere"),
        (["extract", "images=nowhere", "output=y"], "nowhere"),
        (["samples", "source=wheels", "output=plain/photos"], "plain: File exists"),
        (["samples", "output=s3://bucket/photos"], "the photos are written to a local disk"),
        (["demo", "output=s3://bucket/demo"], "the photos are written to a local disk"),
        (["extract", "images=.", "output=plain/store"], "plain/store: Not a directory"),
        (["extract", "images=.", "output=/sys/store"], "/sys/store: "),  # nobody may write there
        (["store", "info", "x" * 300], "File name too long"),
    ],
)
def test_errors_are_one_message_and_exit_code_2(
    words: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.copy(ROOT / "tests" / "golden" / "images" / "rocket_333x201.jpg", tmp_path)
    (tmp_path / "plain").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert message in captured.err
    assert "Traceback" not in captured.err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("ames-ray ")


def test_config_says_what_the_words_resolve_to(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    import yaml

    words = [
        "extract",
        f"images={tmp_path}",
        f"output={tmp_path / 'store'}",
        "backbone=dinov2",
        "detector=none",
    ]
    assert main(["config", *words, "topk=50"]) == 0
    values = yaml.safe_load(capsys.readouterr().out)
    assert (values["backbone"], values["topk"], values["imsize"]) == ("dinov2", 50, 770)
    assert not (tmp_path / "store").exists()
    assert main(["config"]) == 2
    assert "needs a verb" in capsys.readouterr().err
    assert main(["config", "extract", "imges=x"]) == 2
    assert "images" in capsys.readouterr().err


def test_nobody_reads_the_output() -> None:
    script = "set -o pipefail; python -m ames_ray.cli.main completion bash | true"
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.returncode in {0, 141}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("check images=.", "interrupted\n"),
        ("neighbors query=q gallery=g output=nn.parquet", "interrupted\n"),
        ("store merge stores=[a,b] output=c", f"interrupted: {KEPT}\n"),
        ("score query=q gallery=g nn_file=nn.pkl model=m output=s.parquet", f"interrupted: {KEPT}\n"),
        ("extract images=. output=c overwrite=true", f"interrupted: {ANEW}\n"),
    ],
)
def test_what_is_cut_off_promises_to_go_on_only_where_it_does(words: str, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STRUCK, *words.split()], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert (done.returncode, done.stderr) == (130, said)


def test_a_full_disk_is_said_without_a_traceback() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "ames_ray.cli.main", "--help"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert "error: the disk is full" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
