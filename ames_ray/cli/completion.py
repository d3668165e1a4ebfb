"""Completion scripts for shells, made from the verbs and their settings."""

from __future__ import annotations

import shlex
import typing
from typing import TYPE_CHECKING

from ames_ray.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ames_ray.cli.verbs import Verb
    from ames_ray.config.jobs import JobConfig

SHELLS = ("bash", "zsh", "fish")

_BASH = """\
_ames_ray() {{
    local line="${{COMP_LINE:0:$COMP_POINT}}" word="" words="" verb=""
    [[ "$line" == *" " ]] || word="${{line##* }}"
    COMPREPLY=()
    case "$line" in
{cases}
        *) words={verbs} ;;
    esac
    case "$word" in
        *=*)
            # bash splits words at "=", so what is offered is the part behind it; zsh does not.
            local key="${{word%%=*}}=" value="${{word#*=}}" entry front=""
            [[ -z "${{ZSH_VERSION-}}" ]] || front="$key"
            for entry in $words; do
                [[ "$entry" == "$key"?* ]] || continue
                COMPREPLY+=($(compgen -P "$front" -W "${{entry#*=}}" -- "$value"))
            done
            (( ${{#COMPREPLY[@]}} )) || COMPREPLY=($(compgen -P "$front" -f -- "$value"))
            ;;
        *)
            local keys="" entry
            for entry in $words; do
                if [[ "$entry" == *=* ]]; then keys+=" ${{entry%%=*}}="; else keys+=" $entry"; fi
            done
            compopt -o nospace 2>/dev/null
            COMPREPLY=($(compgen -W "$keys" -- "$word"))
            ;;
    esac
}}
# Where nothing of ours fits, as for a photo to search with, names of files.
complete -o default -F _ames_ray ames-ray
"""


def completion(shell: str, verbs: Mapping[str, Verb]) -> str:
    """A script that completes verbs, settings and the settings' choices.

    Args:
        shell: One of `SHELLS`.
        verbs: Verbs by name; a name has one or two words.

    Raises:
        ConfigError: Another shell.
    """
    if shell not in SHELLS:
        raise ConfigError(f"there is no completion for '{shell}'", f"one of: {', '.join(SHELLS)}")
    if shell == "fish":
        return _fish(verbs)
    start = "autoload -U +X bashcompinit && bashcompinit\n" if shell == "zsh" else ""
    return start + _bash(verbs)


def _bash(verbs: Mapping[str, Verb]) -> str:
    # Longer names first: "store info" before anything that "store" alone would match.
    cases = [
        f'        "ames-ray {name} "*) words={shlex.quote(" ".join(_words(verb)))} ;;'
        for name, verb in sorted(verbs.items(), key=lambda item: -len(item[0]))
    ]
    for group in sorted({name.split()[0] for name in verbs if " " in name}):
        seconds = " ".join(name.split()[1] for name in verbs if name.startswith(f"{group} "))
        cases.append(f'        "ames-ray {group} "*) words={shlex.quote(seconds)} ;;')
    firsts = " ".join(dict.fromkeys(name.split()[0] for name in verbs))
    return _BASH.format(cases="\n".join(cases), verbs=shlex.quote(firsts))


def _fish(verbs: Mapping[str, Verb]) -> str:
    # No names of files in place of a verb; behind it, a photo or a store may be meant.
    lines = ["complete -c ames-ray -n __fish_use_subcommand -f"]
    for name, verb in verbs.items():
        first, _, second = name.partition(" ")
        if second:
            lines.append(f"complete -c ames-ray -n __fish_use_subcommand -a {first}")
            where = f"'__fish_seen_subcommand_from {first}'"
            lines.append(f"complete -c ames-ray -n {where} -a {second} -d {shlex.quote(verb.purpose)}")
            condition = f"'__fish_seen_subcommand_from {first}; and __fish_seen_subcommand_from {second}'"
        else:
            purpose = shlex.quote(verb.purpose)
            lines.append(f"complete -c ames-ray -n __fish_use_subcommand -a {first} -d {purpose}")
            condition = f"'__fish_seen_subcommand_from {first}'"
        words = " ".join(_words(verb))
        lines.append(f"complete -c ames-ray -n {condition} -a {shlex.quote(words)}")
    return "\n".join(dict.fromkeys(lines)) + "\n"


def _words(verb: Verb) -> list[str]:
    """`key=` of every setting of any kind, and `key=choice` where the choices are known."""
    from ames_ray.config.compose import setting_choices

    jobs: list[type[JobConfig]] = [verb.load_config(), *(verb.load_config([kind]) for kind in verb.kinds)]
    found = []
    for job in jobs:
        for key, field in job.model_fields.items():
            choices = setting_choices(job, key) or _choices(field.annotation)
            found += [f"{key}={choice}" for choice in choices] or [f"{key}="]
    return list(dict.fromkeys(found))


def _choices(annotation: object) -> list[str]:
    if annotation is bool:
        return ["true", "false"]
    if typing.get_origin(annotation) is typing.Literal:
        return [str(choice) for choice in typing.get_args(annotation)]
    return []
