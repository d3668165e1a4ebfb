"""From `key=value` words to a checked job object.

Hydra's `compose` reads the YAML groups and the overrides; pydantic checks the result. Hydra's own `main`
is not used: it would write an `outputs/` folder into the one that Ray uploads, and take over logging.
"""

from __future__ import annotations

import difflib
import json
import re
import types
import typing
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml
from pydantic import ValidationError

from ames_ray.config.jobs import JobConfig
from ames_ray.datasets.paths import expanded
from ames_ray.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pydantic_core import ErrorDetails

Job = TypeVar("Job", bound=JobConfig)

_PRESETS = {"ensemble": ("lamb", "temp", "num_rerank"), "recipe": ("lr",)}
"""Groups of which `ames-ray tune` writes files, and what such a file holds at least."""

# A value that fits one of these patterns picks the named choice of the group, and stays as the value.
_OPEN_CHOICES = {
    "backbone": {r"hf:.+": "hf", r"[A-Za-z_][\w.]*:[A-Za-z_]\w*": "_own"},
    "ensemble": {r".+\.ya?ml": "default"},
    "recipe": {r".+\.ya?ml": "published"},
}

_HAS_NAME = re.compile(r"-|[\w.@+~]+=")
"""How a word begins that is no path or address: those may hold `=`, behind a `/`, a `:` or a `?`."""

_VALUE = r"""(?:('(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")|([^,\s][^,]*?))(?=\s*(?:,|$))"""
_ITEM = re.compile(rf"(){_VALUE}")
"""An item of a list: in quotes, or as it is, up to the next comma."""
_PAIR = re.compile(rf"([^:,]+:\s*){_VALUE}")
"""An item of a mapping, behind its name and the first colon."""

_SWEEP = re.compile(r"(?:Ambiguous value for argument|Sweep parameters) '\+*(?P<key>\w+)=(?P<values>[^']*)'")
"""How Hydra refuses `1,2` and `range(1,9)`; its advice, `--multirun`, is no word of ours."""


def config_folder() -> Path:
    """Folder of the YAML files: inside an installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"


def group_choices(group: str) -> list[str]:
    """What one may choose of a group: names of its YAML files, sorted, without those that begin with `_`."""
    return sorted(path.stem for path in (config_folder() / group).glob("[!_]*.yaml"))


def setting_choices(job: type[JobConfig], key: str) -> list[str]:
    """What one may choose of a setting that is a group of this job; nothing of any other setting."""
    return group_choices(key) if _groups(job) else []


def compose(job: type[Job], overrides: Sequence[str]) -> Job:
    """The job object that the words describe.

    Args:
        job: Class of the job; the YAML file that holds the groups and defaults has the name of its verb.
        overrides: Words of Hydra's grammar, `key=value`.

    Raises:
        ConfigError: A word is malformed; a key is unknown or has moved; a value is not allowed.
    """
    words = [_word(job, text) for text in _with_preset(_named(job, overrides))]
    _refuse_two_presets(words)
    values = _hydra(job, [_for_hydra(job, key, value) for key, value, _ in words])
    values |= {key: kept for key, _, kept in words if kept is not None}
    try:
        return job.model_validate(values)
    except ValidationError as error:
        raise _readable(job, error.errors()) from None


def _named(job: type[JobConfig], overrides: Sequence[str]) -> list[str]:
    """The words, those without a name with that of the setting whose turn it is."""
    names = iter(job.positional)
    return [text if _HAS_NAME.match(text) else "=".join([*islice(names, 1), text]) for text in overrides]


def _with_preset(words: list[str]) -> list[str]:
    """The words behind those of an `ensemble=FILE.yaml` that `ames-ray tune` wrote; later ones win."""
    found = []
    for text in words:
        group, _, file = text.partition("=")
        if group in _PRESETS and re.fullmatch(r".+\.ya?ml", file):
            found += _preset(group, file)
    return [*found, *words]


def _preset(group: str, file: str) -> list[str]:
    needed = _PRESETS[group]
    try:
        preset = yaml.safe_load(expanded(file).read_text())
        names = dict.fromkeys([*needed, *preset])
        values = {name: preset[name] for name in names if name != group}
    except (OSError, ValueError, yaml.YAMLError, TypeError, KeyError) as error:
        raise ConfigError(
            f"{group}={file} cannot be used: {error}", f"a preset file gives {', '.join(needed)}"
        ) from None
    return [
        f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in values.items()
    ]


def _refuse_two_presets(words: Sequence[tuple[str, str, str | None]]) -> None:
    """Refuse a named preset beside an experiment, whose YAML file gives the same settings and comes last."""
    chosen = {key: value for key, value, kept in words if kept is None}
    for group, names in _PRESETS.items():
        if group in chosen and "experiment" in chosen:
            raise ConfigError(
                f"experiment={chosen['experiment']} chooses {', '.join(names)} itself: "
                f"{group}={chosen[group]} would do nothing",
                f"leave out one of them, or give {'=, '.join(names)}= on their own",
            )


def _word(job: type[JobConfig], text: str) -> tuple[str, str, str | None]:
    """Key, value for Hydra, and the value to put in its place afterwards where the choice is open."""
    key, separator, value = text.partition("=")
    if not separator or key not in job.setting_names():
        raise _not_ours(job, text)
    choices = setting_choices(job, key)
    if choices and value not in choices:
        for pattern, choice in _OPEN_CHOICES.get(key, {}).items():
            if re.fullmatch(pattern, value):
                return key, choice, value
        raise ConfigError(f"{key}={value}: there is no such {key}", _nearest(value, choices))
    return key, value, None


def _not_ours(job: type[JobConfig], text: str) -> ConfigError:
    """What to write in place of a word that is no `key=value` of this job, or `--key` of another tool."""
    key, separator, value = text.partition("=")
    name = key.lstrip("-")
    value = value if separator else "…"
    known = name in job.setting_names()
    setting = None if known else job.moved_to(name)
    if setting:
        ours = setting if "=" in setting else f"{setting}={value}"
        return ConfigError(f"'{name}' is called '{setting.partition('=')[0]}' here", f"write {ours}")
    if name in job.instead and not known:
        return ConfigError(f"{job.verb} has no setting '{name}'", job.instead[name])
    hint = f"write {name}={value}" if known else _nearest(name, job.setting_names())
    if not separator or known:
        return ConfigError(f"'{text}' is not of the form key=value", hint)
    return ConfigError(f"{job.verb} has no setting '{name}'", hint)


def _for_hydra(job: type[JobConfig], key: str, value: str) -> str:
    """The word in Hydra's grammar.

    The YAML files hold groups alone, so a setting is added with `++`. Text is quoted: a path may hold
    commas, blanks and brackets, which Hydra would parse.
    """
    if setting_choices(job, key):
        return f"{key}={value}"
    if value != "null":
        value = _quoted(_options(job.model_fields[key].annotation), value)
    return f"++{key}={value}"


def _quoted(options: list[Any], value: str) -> str:
    """Text, or the texts of a list or a mapping of texts, in Hydra's quotes; anything else as it is.

    Names are quoted as well where they look like numbers: to Hydra `2024_01` is 202401.
    """
    if str in options:
        return _in_quotes(value)
    several = [option for option in options if typing.get_origin(option) in (list, dict)]
    texts = {typing.get_origin(o) for o in several if str in _options(typing.get_args(o)[-1])}
    if list in texts:
        inside = value.startswith("[") and value.endswith("]")
        return f"[{_each(_ITEM, value[1:-1])}]" if inside else _in_quotes(value)
    if dict in texts and value.startswith("{") and value.endswith("}"):
        return f"{{{_each(_PAIR, value[1:-1])}}}"
    return value


def _each(item: re.Pattern[str], items: str) -> str:
    return item.sub(lambda found: found[1] + (found[2] or _in_quotes(found[3])), items)


def _in_quotes(value: str) -> str:
    # In Hydra's quotes a backslash escapes only in front of a quote.
    value = re.sub(r"(\\+)(?='|$)", r"\1\1", value).replace("'", "\\'").replace("${", "\\${")
    return f"'{value}'"


def _options(annotation: Any) -> list[Any]:
    """The types that a value may have, without what is annotated to them."""
    union = typing.get_origin(annotation) in (types.UnionType, typing.Union)
    options = typing.get_args(annotation) if union else (annotation,)
    return [option.__origin__ if hasattr(option, "__metadata__") else option for option in options]


def _hydra(job: type[JobConfig], overrides: list[str]) -> dict[str, Any]:
    from hydra import compose as hydra_compose
    from hydra import initialize, initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import InterpolationKeyError, OmegaConfBaseException

    groups = _groups(job)
    # Where it knows the folder, Hydra takes a setting that has the name of a group for that group.
    opened = partial(initialize_config_dir, str(config_folder())) if groups else partial(initialize, None)
    try:
        with opened(version_base="1.3"):
            composed = hydra_compose(groups, overrides=overrides)
            values = OmegaConf.to_container(composed, resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        if found := _SWEEP.search(str(error)):
            raise _several(job, found["key"], found["values"]) from None
        hint = None
        if isinstance(error, InterpolationKeyError) and "experiment=published_table" in overrides:
            names = "dinov2_ames, dinov2_ames_dist, cvnet_ames or cvnet_ames_dist"
            hint = f"experiment=published_table needs one of the four names as model=: {names}"
        raise ConfigError(" ".join(str(error).split()), hint) from None
    settings = typing.cast("dict[str, Any]", values)
    # A name that begins with an underscore is the YAML file's own, for interpolation.
    return {key: value for key, value in settings.items() if not key.startswith("_")}


def _several(job: type[JobConfig], key: str, values: str) -> ConfigError:
    """What to write in place of Hydra's words for several values."""
    kinds = {typing.get_origin(option) for option in _options(job.model_fields[key].annotation)}
    if kinds.isdisjoint((list, tuple)):
        return ConfigError(f"{key}={values}: it takes one value")
    example = "1,2" if "(" in values else values
    return ConfigError(f"{key}={values}: several values are a list", f"write it as {key}=[{example}]")


def _groups(job: type[JobConfig]) -> str | None:
    """Name of the YAML file with the groups of a job, or none where it has no groups."""
    name = job.groups or job.verb
    return name if (config_folder() / f"{name}.yaml").is_file() else None


def _nearest(found: str, known: Iterable[str]) -> str:
    known = sorted(known)
    close = difflib.get_close_matches(found, known, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(known)}"


def _readable(job: type[JobConfig], errors: Sequence[ErrorDetails]) -> ConfigError:
    lines, hints = [], []
    for error in errors:
        key = ".".join(str(part) for part in error["loc"])
        message = error["msg"].removeprefix("Value error, ")
        field = job.model_fields.get(key)
        if error["type"] == "missing":
            lines.append(f"{job.verb} needs {key}=")
        else:
            lines.append(f"{key}={error['input']!r}: {message}" if key else message)
        if field is not None and field.description:
            hints.append(f"{key}: {field.description}")
    return ConfigError("\n".join(lines), "; ".join(hints) or None)
