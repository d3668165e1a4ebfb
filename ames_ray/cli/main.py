"""Entry point: find the verb, build its job object, run it; errors become one message and an exit code."""

from __future__ import annotations

import difflib
import signal
import sys
from typing import TYPE_CHECKING

import ames_ray
from ames_ray.cli.help import overview, page
from ames_ray.cli.verbs import VERBS
from ames_ray.errors import AmesError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `ames-ray` with these words (default: the command line); returns the exit code.

    0: done. 1: a bug. 2: a setting, a file or the machine is not as needed. 3: done, but rows failed and
    the caller wanted to know. 130: interrupted; what is finished is kept.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _run(words)
    except AmesError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    except KeyboardInterrupt:
        message = "interrupted: what is finished is kept, the same command goes on from there"
        print(message, file=sys.stderr)  # noqa: T201
        return _INTERRUPTED


def _run(words: list[str]) -> int:
    if not words or words[0] in {"-h", "--help", "help"}:
        print(overview(VERBS))  # noqa: T201
        return 0
    if words[0] == "--version":
        print(f"ames-ray {ames_ray.__version__}")  # noqa: T201
        return 0
    name, rest = _split(words)
    verb = VERBS[name]
    if {"-h", "--help"} & set(rest):
        print(page(name, verb))  # noqa: T201
        return 0
    from ames_ray.config.compose import compose

    config = compose(verb.load_config(), rest)
    # `ray job stop` and batch systems send SIGTERM; it must end like Ctrl-C does.
    signal.signal(signal.SIGTERM, _interrupt)
    verb.load_function()(config)
    return 0


def _split(words: list[str]) -> tuple[str, list[str]]:
    """Name of the verb, and the rest of the words; verbs have one or two words."""
    for count in (2, 1):
        name = " ".join(words[:count])
        if name in VERBS:
            return name, words[count:]
    of_group = [name for name in VERBS if name.startswith(f"{words[0]} ")]
    if of_group:
        raise ConfigError(f"'{words[0]}' needs a second word", f"one of: {', '.join(of_group)}")
    close = difflib.get_close_matches(words[0], VERBS, n=1)
    raise ConfigError(
        f"there is no verb '{words[0]}'",
        f"did you mean '{close[0]}'?" if close else "`ames-ray --help` lists the verbs",
    )


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
