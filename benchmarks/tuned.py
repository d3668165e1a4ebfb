"""What `ames-ray tune` gains on photos it has not seen: tuned on validation scenes, reported on test scenes.

    python -m benchmarks.tuned data/landmarks_mini data/stores

The stores are those of `benchmarks.landmarks_mini`. The network of the package re-ranks at 100 descriptors;
λ, γ and K found on the validation scenes stand beside λ = γ = 0.5 at K = 100 and at the K that was found.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from ames_ray.cli.main import main as ames_ray
from benchmarks.record import save

FIGURE = "medium_mAP"
UNTUNED, UNTUNED_DEPTH = 0.5, 100


def run(verb: str, photos: Path, stores: Path, split: str, *words: str) -> None:
    """A command of the user on one split."""
    given = [f"query={stores}/{split}_query", f"gallery={stores}/{split}_gallery"]
    given += [f"ground_truth={photos}/gnd_{split}.json", "model=sift_ames"]
    given += ["query_desc_num=100", "db_desc_num=100"]
    if code := ames_ray([verb, *given, *words]):
        raise SystemExit(code)


def rows(folder: Path) -> list[dict[str, Any]]:
    """Settings and figures of the evaluation in a folder."""
    (result,) = folder.glob("evaluation-*.json")
    found: list[dict[str, Any]] = json.loads(result.read_bytes())["rows"]
    return found


def measure(photos: Path, stores: Path, folder: Path) -> dict[str, Any]:
    """Figures of the test scenes at the settings that were found, and at those that nobody tuned."""
    run("tune", photos, stores, "val", f"output={folder / 'tuning'}")
    best = json.loads((folder / "tuning" / "ensemble" / "result.json").read_bytes())["best"]
    wanted = {name: [best[name], UNTUNED] for name in ("lamb", "temp")}
    wanted["num_rerank"] = [UNTUNED_DEPTH, best["num_rerank"]]
    run(
        *("evaluate", photos, stores, "test"),
        *(f"{name}={values}" for name, values in wanted.items()),
        f"output={folder / 'test'}",
    )
    settings = {
        "tuned": (best["lamb"], best["temp"], best["num_rerank"]),
        "untuned": (UNTUNED, UNTUNED, UNTUNED_DEPTH),
        "untuned, K of the tuned": (UNTUNED, UNTUNED, best["num_rerank"]),
    }
    measured = {(row["lamb"], row["temp"], row["num_rerank"]): row[FIGURE] for row in rows(folder / "test")}
    return {
        "val_mAP": round(100 * best["value"], 2),
        "test": [
            {"setting": name, "lamb": at[0], "temp": at[1], "K": at[2], "mAP": round(100 * measured[at], 2)}
            for name, at in settings.items()
        ],
    }


def main() -> None:
    """Tune, evaluate, and write down."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", type=Path, help="folder of `ames-ray samples set=landmarks_mini`")
    parser.add_argument("stores", type=Path, help="folder of the stores val_query, val_gallery, test_query …")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ames-ray-tuned-") as folder:
        save("tuning", "real photos", measure(options.photos, options.stores, Path(folder)))


if __name__ == "__main__":
    main()
