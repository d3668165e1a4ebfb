"""Why a picture could not be used: the codes that stand in a store's `reason` and `flag` columns."""

from __future__ import annotations

MISSING = "missing"
EMPTY = "empty"
NOT_AN_IMAGE = "not_an_image"
IS_A_FOLDER = "is_a_folder"
NO_PERMISSION = "no_permission"
TRUNCATED = "truncated"
TOO_MANY_PIXELS = "too_many_pixels"
TOO_SMALL = "too_small"
EMPTY_CROP = "empty_crop"
DECODE_FAILED = "decode_failed"
READ_FAILED = "read_failed"
NON_FINITE = "non_finite"
NO_FEATURES = "no_features"
NETWORK_FAILED = "network_failed"
WORKER_DIED = "worker_died"
OUTSIDE_ROOT = "outside_root"

EXPLANATIONS: dict[str, str] = {
    MISSING: "there is no file of that name",
    EMPTY: "the file has no bytes",
    NOT_AN_IMAGE: "the content is no picture, whatever the name says (often a saved error page)",
    IS_A_FOLDER: "the path is a folder",
    NO_PERMISSION: "the file may not be read by this user",
    TRUNCATED: "the file ends too early, as after a broken download",
    TOO_MANY_PIXELS: "the picture has more pixels than max_pixels allows",
    TOO_SMALL: "a side is shorter than min_side after resizing",
    EMPTY_CROP: "the box of the query leaves nothing of the picture",
    DECODE_FAILED: "the picture is damaged or of a kind that cannot be decoded",
    READ_FAILED: "the file is there but reading it failed",
    NON_FINITE: "the descriptors or their places hold NaN or infinity",
    NO_FEATURES: "nothing was found to describe, as in a picture of one colour",
    NETWORK_FAILED: "the network raised an error on this picture",
    WORKER_DIED: "the process died on this picture, more than once and with nothing else in hand",
    OUTSIDE_ROOT: "the path leaves the data root",
}
"""One sentence for people for every code."""
