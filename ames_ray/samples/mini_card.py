"""The README inside `landmarks_mini`: what it is, how it was made, what it cannot show."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import cv2

from ames_ray.samples.mini_pictures import DISTRACTOR_VIEWS, SCENE_VIEWS
from ames_ray.samples.views import HARD, MODERATE, OCCLUDER_SIDE, PASTED_SIDE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ames_ray.samples.mini_photos import MiniPhoto
    from ames_ray.samples.mini_pictures import Picture
    from ames_ray.samples.views import ViewRange

_TEXT = """\
# landmarks_mini

A small benchmark for image retrieval by local descriptors, and photos to train on, for tests, demos and small
models where no published data set is within reach. **Its figures compare with nothing published.** It is made
of the real photos in {source}.

## Photos

Every photo has one role. No photo of training, of the scenes, of the galleries and of the backgrounds is used
for anything else, and no landmark is in two splits; the table was fixed before anything was tuned.

| role | photos | what for |
|---|---|---|
{roles}

{landmarks} landmarks in val and {test_landmarks} in test have more than one photograph. Which ones show one
place was judged by geometry and by eye. Not one place, though their names are alike: the Victoria Memorials
of Kolkata and London, India Gate and the Gateway of India.

## Pictures

| list | pictures | |
|---|---|---|
{lists}

Photos are reduced to 640 pixels on the longer side. In a gallery each photo of a scene stands with
{scene_views} moderate views of it, each distractor with {distractor_views}. Queries come in tiers:

- `medium`: a part of a scene's photo from far aside, in other light, blurred and badly compressed;
- `hard`: another such view, pasted on a foreign picture, with something in front of it;
- `crossphoto`: a real photograph of a landmark, wanted are the other photographs of it (and views of these);
- `pairs`: two photographs of one place or thing, a few steps apart, each the query for the other.

`medium` and `hard` are made {seeds} times, each time by other draws. A training photo is there {train_views}
times: as it is, a quarter of the rest moderate, the others hard, every second of those pasted on another
training photo. The name of a picture tells which.

| drawn uniformly from | moderate | medium, hard |
|---|---|---|
{ranges}

A pasted view takes {pasted} of its background's side; what stands in front of it has {occluder} of its axes.
How far `medium` and `hard` go was set once, before any network was trained, by the validation scenes: among
the images of both galleries the global ranking should find about 60 and 15 mAP.

## Files

- `train.txt`, `val_gallery.txt`, …: path, landmark, width, height; `dataset=landmarks_mini split=val_gallery`
  reads them.
- `gnd_val.json`, `gnd_test.json`: ground truth of all queries of a split in the structure of Revisited Oxford
  and Paris: what is wanted is in `easy`, what neither counts nor hurts in `junk`. So `medium_mAP` is the
  figure whatever the tier, and there is no other one.
- `gnd_test_hard.json`, `gnd_test_hard_seed0.json`, …: one tier, one seed. They list all queries too and give
  the others no positives, so one store and one file of scores serve all of them.

Of a `medium` or `hard` query its own photo and the views of it are wanted, and other photographs of the
landmark are junk. Of a `crossphoto` or `pairs` query the other photographs are wanted, and its own is junk.

## What it cannot show

- `medium` and `hard` are planar warps of flat photos: they favour SIFT, which was made for such warps, over
  networks, and say nothing about depth, season, crowds or age.
- `crossphoto` and `pairs` are real but few: {crossphoto} and {pairs} queries in test. Take no difference of
  a few points there for one.
- There are {scenes} scenes in test. Judge by intervals over scenes, not over queries: the queries of a scene
  are not independent.
- A perfect score says that an object on a flat picture is found, not that a landmark is recognised.

## Provenance

Equal settings give equal files on one machine. OpenCV {opencv} made these; another version may round a pixel
otherwise. SHA-256 over all pictures: `{digest}`; that of each file is in `samples.json`. The pictures are
altered copies: credits and licences of the originals are in `CREDITS.md` and the files that it names, and for
the `opencv-doc` photos in `COPYRIGHT_opencv-doc.txt`.
"""


def card(
    source: str,
    table: Sequence[MiniPhoto],
    lists: Mapping[str, Sequence[Picture]],
    seeds: int,
    train_views: int,
    digest: str,
) -> bytes:
    """The text, as UTF-8 Markdown.

    Args:
        source: Packages with their versions.
        table: All photos.
        lists: Pictures by list.
        seeds: How often each scene is a made-up query.
        train_views: Pictures of each training photo.
        digest: SHA-256 over all pictures.
    """
    roles = Counter(photo.role for photo in table)
    tiers = Counter(picture.tier for picture in lists["test_query"])
    text = _TEXT.format(
        source=source,
        roles="\n".join(f"| `{role}` | {roles[role]} | {what} |" for role, what in _WHAT.items()),
        landmarks=len({p.landmark for p in table if p.role == "val_further"}),
        test_landmarks=len({p.landmark for p in table if p.role == "test_further"}),
        lists="\n".join(_line(name, pictures) for name, pictures in sorted(lists.items())),
        scene_views=SCENE_VIEWS,
        distractor_views=DISTRACTOR_VIEWS,
        seeds=seeds,
        train_views=train_views,
        ranges=_ranges(MODERATE, HARD),
        pasted=_percent(*PASTED_SIDE),
        occluder=_percent(*OCCLUDER_SIDE),
        crossphoto=tiers["crossphoto"],
        pairs=tiers["pairs"],
        scenes=roles["test_scene"],
        opencv=cv2.__version__,
        digest=digest,
    )
    return text.encode()


_WHAT = {
    "train": "training, and nothing else",
    "val_scene": "gallery; views of it are queries that settings are chosen by",
    "val_further": "gallery; another photograph of a scene's landmark, query of `crossphoto`",
    "val_distractor": "gallery",
    "val_background": "behind `hard` queries",
    "test_scene": "gallery; views of it are queries that figures are reported of",
    "test_further": "as in val",
    "test_pair": "gallery; query of `pairs`",
    "test_distractor": "gallery",
    "test_background": "behind `hard` queries",
    "unused": "the same photograph as another one",
}


def _line(name: str, pictures: Sequence[Picture]) -> str:
    tiers = Counter(picture.tier for picture in pictures if picture.tier)
    told = ", ".join(f"{count} {tier}" for tier, count in tiers.items())
    return f"| `{name}` | {len(pictures)} | {told or f'{len({p.photo for p in pictures})} photos'} |"


def _ranges(moderate: ViewRange, hard: ViewRange) -> str:
    rows = {
        "share of the photo's area": [_percent(*r.area) for r in (moderate, hard)],
        "turn of the camera up or down, aside, around itself": [
            f"±{r.pitch:g}°, ±{r.yaw:g}°, ±{r.roll:g}°" for r in (moderate, hard)
        ],
        "gamma": [f"{1 / r.gamma:.2f} to {r.gamma:g}" for r in (moderate, hard)],
        "factor of each colour": [f"{1 - r.cast:g} to {1 + r.cast:g}" for r in (moderate, hard)],
        "blur, sigma in pixels": [f"0 to {r.blur:g}" if r.blur else "none" for r in (moderate, hard)],
        "JPEG quality": [f"{r.quality[0]} to {r.quality[1]}" for r in (moderate, hard)],
    }
    return "\n".join(f"| {name} | {left} | {right} |" for name, (left, right) in rows.items())


def _percent(low: float, high: float) -> str:
    return f"{100 * low:.0f} to {100 * high:.0f} %"
