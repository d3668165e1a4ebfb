"""Help texts, generated from the verbs and the descriptions of their settings."""

from __future__ import annotations

import textwrap
import typing
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ames_ray.cli.verbs import Verb
    from ames_ray.config.jobs import JobConfig

_WIDTH = 100
_WRITTEN: dict[Any, Callable[[list[str]], str]] = {
    list: lambda kinds: f"list of {kinds[0]}",
    tuple: lambda kinds: f"[{','.join(kinds)}]",
    dict: lambda kinds: f"mapping of names to {kinds[1]}",
}
"""How a type that holds others is written."""


_TOPICS = {
    "config": """\
usage: ames-ray config VERB [key=value …]

Prints every setting of a command with the value that it resolves to, and runs nothing:
  ames-ray config extract images=photos/ output=store/ backbone=dinov2""",
    "completion": """\
usage: ames-ray completion bash|zsh|fish

Prints a script with which the Tab key completes verbs, settings and their choices.
For the shell at hand, or in the file that it reads when it starts:
  bash, zsh:  source <(ames-ray completion bash)   # or zsh
  fish:       ames-ray completion fish | source""",
}
"""What words say that are no verbs."""


def overview(groups: Mapping[str, Mapping[str, Verb]]) -> str:
    """What `ames-ray --help` prints."""
    width = max(len(name) for verbs in groups.values() for name in verbs)
    lines = []
    for title, verbs in groups.items():
        lines += [f"{title}:", *(f"  {name:<{width}}  {verb.purpose}" for name, verb in verbs.items()), ""]
    return "\n".join(
        [
            "Search photo collections for the same object or landmark.",
            "",
            "usage: ames-ray VERB key=value …",
            "",
            *lines,
            "`ames-ray VERB --help` shows the settings of a verb with examples,",
            "`ames-ray config VERB key=value …` what they resolve to, without running anything,",
            "`ames-ray completion bash|zsh|fish` prints a script for your shell.",
            "Start with:  ames-ray demo",
        ]
    )


def topic(word: str, verbs: Mapping[str, Verb]) -> str | None:
    """What `ames-ray WORD --help` prints where the word alone is no verb; none where it begins nothing."""
    if word in _TOPICS:
        return _TOPICS[word]
    named = {name: verb.purpose for name, verb in verbs.items() if name.startswith(f"{word} ")}
    if not named:
        return None
    width = max(map(len, named))
    lines = [f"  {name:<{width}}  {purpose}" for name, purpose in named.items()]
    return "\n".join([f"usage: ames-ray {word} … key=value …", "", *lines])


def page(name: str, verb: Verb, words: Sequence[str] = ()) -> str:
    """What `ames-ray VERB --help` prints: purpose, examples, every setting with type and default."""
    from ames_ray.config.compose import setting_choices

    job = verb.load_config(words)
    name = " ".join([name, *(kind for kind in verb.kinds if kind in words)])
    head = [verb.purpose, "", f"usage: ames-ray {name} {_usage(job)}", "", "examples:"]
    head += [f"  {example}" for example in job.examples]
    body = ["", "settings:"]
    # What must be given comes first, wherever a class was made from another one.
    for key, field in sorted(job.model_fields.items(), key=lambda item: not item[1].is_required()):
        default = "required" if field.is_required() else _shown(field.get_default(call_default_factory=True))
        choices = setting_choices(job, key)
        kind = "one of " + ", ".join(choices) if choices else _kind(field.annotation, field.metadata)
        body.append(f"  {key}={default}   ({kind})")
        body += textwrap.wrap(
            field.description or "", _WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6
        )
    more = [f"With {kind} others: ames-ray {name} {kind} --help" for kind in verb.kinds if kind not in words]
    return "\n".join(head + body + ([""] if more else []) + more)


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


def _kind(annotation: Any, metadata: Sequence[object] = ()) -> str:
    """A type as people write it: `int or null`, `cpu | cuda`; `metadata` is that of an `Annotated`."""
    from ames_ray.config.paths import Kind

    if named := [item.name for item in metadata if isinstance(item, Kind)]:
        return named[0]
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _kind(arguments[0], arguments[1:])
    if origin is typing.Literal:
        return " | ".join(map(str, arguments))
    kinds = ["null" if argument is type(None) else _kind(argument) for argument in arguments]
    if origin in _WRITTEN:
        return _WRITTEN[origin](kinds)
    return " or ".join(kinds) or {"str": "text"}.get(annotation.__name__, str(annotation.__name__))
