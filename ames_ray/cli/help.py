"""Help texts, generated from the verbs and the descriptions of their settings."""

from __future__ import annotations

import textwrap
import typing
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ames_ray.cli.verbs import Verb
    from ames_ray.config.jobs import JobConfig

_WIDTH = 100


def overview(verbs: Mapping[str, Verb]) -> str:
    """What `ames-ray --help` prints."""
    width = max(map(len, verbs))
    lines = [f"  {name:<{width}}  {verb.purpose}" for name, verb in verbs.items()]
    return "\n".join(
        [
            "Search photo collections for the same object or landmark.",
            "",
            "usage: ames-ray VERB key=value …",
            "",
            *lines,
            "",
            "`ames-ray VERB --help` shows the settings of a verb with examples,",
            "`ames-ray config VERB key=value …` what they resolve to, without running anything,",
            "`ames-ray completion bash|zsh|fish` prints a script for your shell.",
            "Start with:  ames-ray demo",
        ]
    )


def page(name: str, verb: Verb) -> str:
    """What `ames-ray VERB --help` prints: purpose, examples, every setting with type and default."""
    from ames_ray.config.compose import group_choices

    job = verb.load_config()
    head = [verb.purpose, "", f"usage: ames-ray {name} {_usage(job)}", "", "examples:"]
    head += [f"  {example}" for example in job.examples]
    body = ["", "settings:"]
    for key, field in job.model_fields.items():
        default = "required" if field.is_required() else _shown(field.get_default(call_default_factory=True))
        choices = group_choices(key)
        kind = "one of " + ", ".join(choices) if choices else _kind(field.annotation)
        body.append(f"  {key}={default}   ({kind})")
        body += textwrap.wrap(
            field.description or "", _WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6
        )
    return "\n".join(head + body)


def _usage(job: type[JobConfig]) -> str:
    required = [key for key, field in job.model_fields.items() if field.is_required()]
    # Words without a name come first, as people write them.
    required.sort(key=lambda key: key not in job.positional)
    words = [key.upper() if key in job.positional else f"{key}=…" for key in required]
    return " ".join([*words, "[key=value …]"])


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _kind(annotation: Any) -> str:
    """A type as people write it: `int or null`, `cpu | cuda`."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return " | ".join(map(str, arguments))
    if origin is typing.Annotated:
        return "path"
    if origin is list:
        return f"list of {_kind(arguments[0])}"
    if origin is dict:
        return f"mapping of names to {_kind(arguments[1])}"
    if arguments:
        return " or ".join("null" if a is type(None) else _kind(a) for a in arguments)
    return {"str": "text"}.get(annotation.__name__, str(annotation.__name__))
