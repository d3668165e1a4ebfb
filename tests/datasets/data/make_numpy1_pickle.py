"""Writes the pickles of this folder; run it with numpy 1.26.4."""

import pickle
from pathlib import Path

import numpy as np

CONTENT = {
    "imlist": ["a", "b", "c"],
    "qimlist": ("q",),
    "gnd": [
        {
            "bbx": np.array([1.5, 2.0, 30.25, 40.0]),
            "easy": np.array([0, 2], np.int64),
            "hard": np.array([[1, 2, 3], [4, 5, 6]], np.int32, order="F"),
            "junk": np.array([[1], [2, 3], None], object),
            "one": np.float64(0.7),
            "big_endian": np.arange(4, dtype=">u2"),
            "names": np.array(["x", "yz"]),
            "bytes": np.array([b"p", b"qr"]),
            "empty": np.array([], np.int64),
            "flags": np.array([True, False]),
        }
    ],
}

if __name__ == "__main__":
    for protocol in (2, 4):
        name = f"numpy_{np.__version__}_protocol_{protocol}.pkl"
        (Path(__file__).parent / name).write_bytes(pickle.dumps(CONTENT, protocol))
