"""What must not get in or out: foreign code, foreign paths, passwords, open ports."""

from __future__ import annotations

import ast
import json
import os
import pickle
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch

from ames_ray.cli.main import main
from ames_ray.config.compose import compose
from ames_ray.config.serve import ServeConfig
from ames_ray.errors import UnsafeFileError
from ames_ray.files import Storage
from ames_ray.samples.rcc import read_rcc
from ames_ray.service.engine import SearchEngine
from tests.extract_here import extract_here
from tests.photos import make_photos

ROOT = Path(__file__).resolve().parents[2]
EVERY_ADDRESS = {"0.0.0.0", "::"}


class Evil:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("closed")
    make_photos(folder / "photos", 4)
    extract_here([f"images={folder / 'photos'}", f"output={folder / 'store'}", "backbone=blank", "topk=4"])
    return folder / "store"


@pytest.mark.parametrize("how", ["pickle", "torch"])
@pytest.mark.parametrize("what", ["ground_truth", "nn_file", "model"])
def test_a_pickle_from_outside_never_runs(
    how: str, what: str, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mark, name = tmp_path / "ran", tmp_path / ("evil.pt" if what == "model" else "evil.pkl")
    evil = {"gnd": Evil(mark), "state": Evil(mark)}
    if how == "pickle":
        name.write_bytes(pickle.dumps(evil))
    else:
        torch.save(evil, name)
    pairs = [f"query={store}", f"gallery={store}"]
    network = f"model={name if what == 'model' else 'dinov2_ames'}"
    if what == "ground_truth":
        words = ["evaluate", *pairs, f"ground_truth={name}", f"output={tmp_path / 'results'}"]
    else:
        good = tmp_path / "nn.parquet"
        assert main(["neighbors", *pairs, f"output={good}"]) == 0
        shortlist = name if what == "nn_file" else good
        words = ["score", *pairs, f"nn_file={shortlist}", network, f"output={tmp_path / 's.parquet'}"]
    assert main(words) == 2
    assert "evil" in capsys.readouterr().err
    assert not mark.exists()


@pytest.mark.parametrize("where", ["job", "settings"])
@pytest.mark.parametrize("verb", ["search", "serve", "retry"])
def test_code_that_a_store_names_never_runs(
    verb: str, where: str, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mark, foreign = tmp_path / "ran", tmp_path / "foreign"
    shutil.copytree(store, foreign)
    meta = json.loads((foreign / "meta.json").read_text())
    meta["settings"] |= {"backbone": "os:mkdir"} if where == "settings" else {}
    (foreign / "meta.json").write_text(json.dumps(meta))
    if where == "job" or verb == "retry":
        job = {"images": str(store.parent / "photos"), "backbone": "os:mkdir", "weights": str(mark)}
        (foreign / "job.json").write_text(json.dumps(job))
    if verb == "serve":
        with pytest.raises(UnsafeFileError, match="made with backbone=os:mkdir, which is code"):
            SearchEngine(compose(ServeConfig, [f"store={foreign}"]), "cpu")
    else:
        photo = str(store.parent / "photos" / "photo0.jpg")
        search = ["search", photo, f"store={foreign}", f"output={tmp_path / 'page'}"]
        assert main(["store", "retry", str(foreign)] if verb == "retry" else search) == 2
        assert "made with backbone=os:mkdir, which is code" in capsys.readouterr().err
    assert not mark.exists()


def test_no_code_of_ours_could_run_a_pickle() -> None:
    """Each loader that can, wherever it is called, is called in the way that does not."""
    safe = {"torch.load": ("weights_only", "True"), "np.load": ("allow_pickle", "False")}
    found = set()
    for path in [*(ROOT / "ames_ray").rglob("*.py"), *(ROOT / "jobs").glob("*.py")]:
        for call in (n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)):
            name = ast.unparse(call.func)
            assert name not in {"pickle.load", "pickle.loads", "cloudpickle.load", "cloudpickle.loads"}, path
            if name in safe:
                found.add(name)
                given = {(word.arg, ast.unparse(word.value)) for word in call.keywords}
                assert safe[name] in given, f"{path}: {ast.unparse(call)}"
    assert found == safe.keys()


@pytest.mark.parametrize("how", ["up", "absolute", "link to a file", "link to a folder"])
def test_a_list_cannot_leave_its_root_unless_asked(
    how: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_photos(tmp_path / "outside", 1)
    make_photos(tmp_path / "data", 1, first=1)
    secret = tmp_path / "outside" / "photo0.jpg"
    (tmp_path / "data" / "link.jpg").symlink_to(secret)
    (tmp_path / "data" / "folder").symlink_to(secret.parent)
    line = {
        "up": "../outside/photo0.jpg",
        "absolute": str(secret),
        "link to a file": "link.jpg",
        "link to a folder": "folder/photo0.jpg",
    }[how]
    (tmp_path / "list.txt").write_text(f"photo1.jpg\n{line}\n")
    words = ["check", "dataset=list", f"list_file={tmp_path / 'list.txt'}", f"data_root={tmp_path / 'data'}"]
    assert main(words) == 2
    error = capsys.readouterr().err
    assert "leaves" in error
    assert "allow_outside=true" in error
    assert main([*words, "allow_outside=true"]) == 0


def test_an_archive_cannot_write_outside() -> None:
    data = (ROOT / "tests" / "samples" / "qt5_v2_zlib.rcc").read_bytes()
    names = [path.rpartition("/")[2] for path, _ in read_rcc(data, "sound.rcc")]
    name = next(name for name in names if len(name) > 4)
    for evil in ("../" + "x" * (len(name) - 3), "/" + "x" * (len(name) - 1), "..\\" + "x" * (len(name) - 3)):
        changed = data.replace(name.encode("utf-16-be"), evil.encode("utf-16-be"))
        assert changed != data
        with pytest.raises(UnsafeFileError, match=r"evil\.rcc holds the file name"):
            list(read_rcc(changed, "evil.rcc"))


def test_a_password_in_an_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(UnsafeFileError) as error:
        Storage.at("s3://AKIAIOSFODNN7EXAMPLE:wJalrXUtnFEMI@bucket/store")
    assert "wJalrXUtnFEMI" not in str(error.value)
    assert "AKIA" not in str(error.value)
    assert "bucket/store" in str(error.value)


@pytest.mark.parametrize("where", ["data_root", "images", "a line"])
def test_a_password_gets_into_no_list(where: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bucket = "s3://AKIAIOSFODNN7EXAMPLE:wJalrXUtnFEMI@bucket/photos"
    listed = tmp_path / "list.txt"
    listed.write_text(f"{bucket}/a.jpg\n" if where == "a line" else "a.jpg\n")
    words = {
        "data_root": ["dataset=list", f"list_file={listed}", f"data_root={bucket}"],
        "images": [f"images={bucket}"],
        "a line": ["dataset=list", f"list_file={listed}", "allow_outside=true"],
    }[where]
    assert main(["extract", *words, f"output={tmp_path / 'store'}"]) == 2
    error = capsys.readouterr().err
    assert "carries a password" in error
    assert "wJalrXUtnFEMI" not in error
    assert not (tmp_path / "store").exists()


def test_no_code_of_ours_names_every_address() -> None:
    for path in [*(ROOT / "ames_ray").rglob("*.py"), *(ROOT / "jobs").glob("*.py")]:
        texts = {n.value for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Constant)}
        assert not {text for text in texts if isinstance(text, str)} & EVERY_ADDRESS, path


def test_a_command_without_ray_opens_no_port(store: Path, tmp_path: Path) -> None:
    """The sockets that a command binds, told by Python's own audit."""
    code = """
import sys
bound = []
sys.addaudithook(lambda event, args: bound.append(args[1]) if event == "socket.bind" else None)
from ames_ray.cli.main import main
assert main(sys.argv[1:]) == 0
assert bound == [], bound
"""
    words = ["neighbors", f"query={store}", f"gallery={store}", f"output={tmp_path / 'nn.parquet'}"]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_audit_would_notice() -> None:
    """The test above can fail: a bound socket is seen."""
    bound: list[object] = []
    sys.addaudithook(lambda event, args: bound.append(args[1]) if event == "socket.bind" else None)
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
    assert ("127.0.0.1", 0) in bound


def test_a_local_ray_is_closed_by_a_token_that_is_told_nobody(tmp_path: Path) -> None:
    """The token is made for the process, differs every time, and is printed nowhere."""
    code = (
        "import ames_ray.distributed, os, sys\n"
        "sys.stderr.write(os.environ['RAY_AUTH_MODE'] + ' ' + os.environ['RAY_AUTH_TOKEN'])"
    )
    clean = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")} | {"HOME": str(tmp_path)}
    said = [
        subprocess.run([sys.executable, "-c", code], env=clean, capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    modes, tokens = zip(*(done.stderr.split() for done in said), strict=True)
    assert set(modes) == {"token"}
    assert len(set(tokens)) == 2
    assert all(len(token) == 64 for token in tokens)


def test_a_token_of_the_users_own_is_taken(tmp_path: Path) -> None:
    """Of ~/.ray/auth_token, which Ray reads itself where no other token is named."""
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("0" * 64)
    code = (
        "import ames_ray.distributed, os\nprint(os.environ['RAY_AUTH_MODE'], 'RAY_AUTH_TOKEN' in os.environ)"
    )
    clean = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")} | {"HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=clean, capture_output=True, text=True, check=True)
    assert done.stdout == "token False\n"


@pytest.mark.slow
def test_a_run_writes_its_token_nowhere(tmp_path: Path) -> None:
    """Neither into the store and its card, nor to the screen, nor into Ray's logs."""
    make_photos(tmp_path / "photos", 4)
    token = secrets.token_hex(32)
    words = ["images=photos", "output=store", "backbone=blank", "workers=1"]
    with tempfile.TemporaryDirectory(prefix="ar-") as logs:  # short: Ray puts sockets there
        clean = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")} | {"RAY_TMPDIR": logs}
        done = subprocess.run(
            [sys.executable, "-m", "ames_ray.cli.main", "extract", *words],
            env={**clean, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token, "PYTHONPATH": str(ROOT)},
            cwd=tmp_path,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        files = [path for folder in (tmp_path, Path(logs)) for path in folder.rglob("*") if path.is_file()]
        assert {"card.json", "raylet.out"} <= {path.name for path in files}
        told = [done.stdout, done.stderr, *(path.read_bytes() for path in files)]
    assert [text for text in told if token.encode() in text] == []
