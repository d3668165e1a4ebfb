"""Writes the pages that are made from code and results: `make docs`.

`reference.md` comes from the verbs and the descriptions of their settings, `numbers.md` from the files in
`benchmarks/results/`.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ames_ray.cli.help import page
from ames_ray.cli.verbs import VERBS
from ames_ray.images.reasons import EXPLANATIONS

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "benchmarks" / "results"
_WIDEST = 12

_EXIT_CODES = {
    0: "done; failed rows are counted and listed",
    1: "a bug in ames-ray; or, without any message, Ray's node manager on this machine died: its native code "
    "ends the process, and the same command goes on",
    2: "a setting, a file or the machine is not as needed; the message says what and how to mend it",
    3: "done, but images have problems and the caller asked to be told: `check`, and `strict=true`",
    130: "interrupted; the message says whether the same command goes on with what is finished",
    141: "nobody reads the output: `ames-ray … | head`",
}


class Goal(NamedTuple):
    """A bound on one figure, set before it was measured.

    Attributes:
        words: What is bounded.
        place: File, section and keys; a mapping finds the entry of a list that has these values.
        relation: "≥" or "≤".
        bound: The bound.
    """

    words: str
    place: tuple[str | dict[str, Any], ...]
    relation: str
    bound: float


_SCORING = ("scoring", "cpu", "shapes")
_600_100, _600_600 = {"queries": 600, "galleries": 100}, {"queries": 600, "galleries": 600}
_SEARCH = ("tuning", "search, 55 positives a query", "10 points a Ray Tune trial")
GOALS = (
    Goal("extraction, RootSIFT: rate over a loop by hand", ("extraction", "sift", "ratio"), "≥", 0.9),
    Goal("extraction, DINOv2: rate over a loop by hand", ("extraction", "dinov2", "ratio"), "≥", 0.95),
    Goal(
        "extraction: rows/s of a backbone that computes nothing, decoding aside",
        ("extraction", "ceiling", "rows_per_s_decoding_aside"),
        "≥",
        1000,
    ),
    Goal("store: bytes above the payload, %", ("extraction", "disk", "overhead_percent"), "≤", 2),
    Goal("scoring, 600 × 100: × the dense form", (*_SCORING, _600_100, "times_dense", "float32"), "≥", 2.5),
    Goal("scoring, 600 × 600: × the dense form", (*_SCORING, _600_600, "times_dense", "float32"), "≥", 4),
    Goal(
        "scoring, 600 × 600: share of the peak of float32 products",
        (*_SCORING, _600_600, "share_of_product", "float32"),
        "≥",
        0.9,
    ),
    Goal(
        "scoring, 600 × 600: bfloat16 over float32", (*_SCORING, _600_600, "bfloat16_over_float32"), "≥", 1.7
    ),
    Goal(
        "scoring, 600 × 600: share of the peak of bfloat16 products",
        (*_SCORING, _600_600, "share_of_product", "bfloat16"),
        "≥",
        0.65,
    ),
    Goal(
        "one more setting of λ, γ and K: milliseconds",
        ("evaluation", "55 positives a query", "setting_ms"),
        "≤",
        0.7,
    ),
    Goal(
        "the same over a plain loop that counts, which took 0.67 ms where the goal was set",
        ("evaluation", "55 positives a query", "times_the_counting_loop"),
        "≤",
        1.04,
    ),
    Goal("packed store, bits: time over a copy", ("search", "packed", "binary", "read_over_copy"), "≤", 2),
    Goal(
        "packed store, float16: time over a copy", ("search", "packed", "float16", "read_over_copy"), "≤", 2
    ),
    Goal("one query, a million images: memory, MB", ("search", "search", "peak_resident_mb"), "≤", 3000),
    Goal("evaluation, a million images: memory, MB", ("search", "evaluate", "peak_resident_mb"), "≤", 4000),
    Goal("training step: × the dense form", ("training", "step cpu", "times_dense", "float32"), "≥", 3),
    Goal("a whole grid: seconds", ("tuning", "grid, 55 positives a query", "seconds"), "≤", 3),
    Goal("search: mAP below the exact optimum", (*_SEARCH, "below_the_optimum_mAP"), "≤", 0.05),
    Goal("search: seconds, Ray's start included", (*_SEARCH, "wall_seconds"), "≤", 60),
    *(
        Goal(
            f"disturbed {verb}: results that were not whole after it was run again",
            ("faults", verb, "unsound"),
            "≤",
            0,
        )
        for verb in ("extract", "score", "train", "tune")
    ),
    *(
        Goal(f"{verb}, a million rows over ten thousand: {words}", ("scale", verb, "growth", key), "≤", 1.1)
        for verb in ("extract", "neighbors")
        for words, key in (
            ("memory of the driver", "driver_mb"),
            ("seconds that a further row takes", "time_of_a_further_row"),
        )
    ),
    Goal("plan: time off by, %", ("scale", "plan", "off_by_percent", "time"), "≤", 15),
    Goal("plan: bytes off by, %", ("scale", "plan", "off_by_percent", "bytes"), "≤", 15),
)


def reference() -> str:
    """The page about verbs, settings and codes."""
    parts = [
        "# Reference",
        "",
        "Generated by `make docs`; every text is what `ames-ray VERB --help` prints.",
        "",
    ]
    for name, verb in VERBS.items():
        for kind in ("", *verb.kinds):
            title = f"{name} {kind}".rstrip()
            parts += [f"## ames-ray {title}", "", "```text", page(name, verb, kind.split()), "```", ""]
    parts += ["## Reason codes", "", "What stands in the `reason` and `flag` columns of a store.", ""]
    parts += _table(["code", "meaning"], [[f"`{code}`", meaning] for code, meaning in EXPLANATIONS.items()])
    parts += ["", "## Exit codes", ""]
    parts += _table(["code", "meaning"], [[str(code), meaning] for code, meaning in _EXIT_CODES.items()])
    return "\n".join(parts) + "\n"


def numbers() -> str:
    """The page about everything that was measured."""
    results = {path.stem: json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))}
    machines: list[dict[str, Any]] = []
    for section in (section for sections in results.values() for section in sections.values()):
        if section["machine"] not in machines:
            machines.append(section["machine"])
    parts = [
        "# Numbers, and how they were measured",
        "",
        "Generated by `make docs` from `benchmarks/results/`, where every run stands with its command.",
        "A number with a range is the median of several runs, with the lowest and the highest; an mAP",
        "stands with its 95 % interval. The machines were shared, so compare only within a table.",
        "`make bench` measures again.",
        "",
        "## Goals",
        "",
        "They were set before anything was measured.",
        "",
        *_table(["", "goal", "measured", ""], [_judged(goal, results) for goal in GOALS]),
        "",
        "## Machines",
        "",
        *(f"{number}. {_machine(machine)}" for number, machine in enumerate(machines, 1)),
    ]
    for name, sections in results.items():
        parts += ["", f"## {name}"]
        for title, section in sections.items():
            parts += ["", f"### {name}: {title}", "", *_section(section, machines)]
    return "\n".join(parts) + "\n"


def _judged(goal: Goal, results: Any) -> list[str]:
    found = results
    for key in goal.place:
        if isinstance(key, dict):
            found = next((entry for entry in found if key.items() <= entry.items()), {})
        else:
            found = found.get(key, {})
    value = found.get("median") if isinstance(found, dict) else found
    bound = f"{goal.relation} {goal.bound:g}"
    if value is None:
        return [goal.words, bound, "", "not measured yet"]
    is_met = {"≥": operator.ge, "≤": operator.le}[goal.relation](value, goal.bound)
    return [goal.words, bound, _shown(value), "met" if is_met else "**not met**"]


def _machine(machine: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    gpus = ", ".join(machine["gpus"]) or "no GPU"
    return f"{machine['cpu']}, {machine['cores']} cores, {gpus}; Python {machine['python']}; {versions}"


def _section(section: dict[str, Any], machines: list[dict[str, Any]]) -> list[str]:
    """Command, machine, what it is, its figures, and one table for each list of entries."""
    what = section.get("what", "")
    parts = [f"`{section['command']}`, machine {machines.index(section['machine']) + 1}.", ""]
    parts += [f"{what[0].upper()}{what[1:]}.", ""] if what else []
    rest = {key: value for key, value in section.items() if key not in {"command", "machine", "what"}}
    lists = {key: rest.pop(key) for key, value in list(rest.items()) if _is_entries(value)}
    figures = [[name, value] for name, value in _flat(rest)]
    parts += _table(["figure", "value"], figures) if figures else []
    for entries in lists.values():
        parts += ([""] if parts[-1] else []) + _entries(entries)
    return parts


def _entries(entries: list[dict[str, Any]]) -> list[str]:
    """A line for each entry; a column for each where the table would be too wide."""
    lines = [dict(_flat(entry)) for entry in entries]
    names = list(dict.fromkeys(name for line in lines for name in line))
    columns = [[name, *(line.get(name, "") for line in lines)] for name in names]
    head, *rows = columns if len(names) > _WIDEST else [list(row) for row in zip(*columns, strict=True)]
    return _table(head, rows)


def _is_entries(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(entry, dict) for entry in value)


def _flat(values: dict[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Names and values of everything below; a median with its runs and a mean with its interval are one."""
    for key, value in values.items():
        name = f"{above}{key.replace('_', ' ')}"
        if not isinstance(value, dict):
            yield name, _shown(value)
        elif {"median", "runs"} <= set(value):
            low, high = min(value["runs"]), max(value["runs"])
            yield name, f"{_shown(value['median'])} ({_shown(low)} to {_shown(high)})"
        elif {"mAP", "interval"} <= set(value):
            yield name, f"{value['mAP']:.1f} [{value['interval'][0]:.1f}, {value['interval'][1]:.1f}]"
        else:
            yield from _flat(value, f"{name}: ")


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_shown, value)) or "none"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: ""}[value]
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value).replace("|", "\\|")


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rows)]


PAGES = {HERE / "reference.md": reference, HERE / "numbers.md": numbers}

if __name__ == "__main__":
    for path, text in PAGES.items():
        path.write_text(text())
