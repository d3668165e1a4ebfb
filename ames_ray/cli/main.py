"""Entry point: find the verb, build its job object, run it; errors become one message and an exit code."""

from __future__ import annotations

import difflib
import errno
import os
import signal
import sys
from typing import TYPE_CHECKING

import ames_ray
from ames_ray.cli.help import overview, page, topic
from ames_ray.cli.verbs import GROUPS, VERBS
from ames_ray.errors import DISK_FULL_HINT, AmesError, ConfigError, is_full

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

_HELP = {"-h", "--help"}
_INTERRUPTED = 130
_NOBODY_READS = 141
_AGAIN = "the same command"

_WRONG_PATH = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR}
_WRONG_PATH |= {errno.ENAMETOOLONG}
"""What the system answers to a path that was named wrongly, or that is not ours to use."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `ames-ray` with these words (default: the command line); returns the exit code.

    0: done. 1: a bug; or, without a message, Ray's native code ended the process, because its node manager on
    this machine died. 2: a setting, a file or the machine is not as needed. 3: done, but rows failed and the
    caller wanted to know. 130: interrupted. 141: nobody reads the output.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = _run(words)
        sys.stdout.flush()
    except AmesError as error:
        _tell(error, words)
        return error.exit_code
    except BrokenPipeError:  # `ames-ray … | head`
        _drop_output()
        return _NOBODY_READS
    except OSError as error:
        said = _of_the_system(error)
        _tell(said, words)
        return said.exit_code
    except KeyboardInterrupt:
        goes_on = any(
            words[: len(name.split())] == name.split() for name, verb in VERBS.items() if verb.resumes
        )
        kept = f": what is finished is kept, {_AGAIN} goes on from there" if goes_on else ""
        print(_without_overwrite(f"interrupted{kept}", words), file=sys.stderr)  # noqa: T201
        return _INTERRUPTED
    return code


def _tell(error: AmesError, words: Sequence[str]) -> None:
    print(_without_overwrite(f"error: {error}", words), file=sys.stderr)  # noqa: T201


def _without_overwrite(text: str, words: Sequence[str]) -> str:
    """The text, in which the command that goes on is another one than the command that started anew."""
    given = [word for word in words if word.startswith("overwrite=")]
    if not given or given[-1].lower() == "overwrite=false":
        return text
    return text.replace(_AGAIN, f"{_AGAIN} without overwrite=true")


def _of_the_system(error: OSError) -> AmesError:
    """What a user can act on in an error of the operating system; anything else is raised again."""
    if is_full(error):
        _drop_output()
        return AmesError(f"the disk is full: {error}", DISK_FULL_HINT)
    if error.errno not in _WRONG_PATH:
        raise error
    # Arrow names the file in its text alone.
    message = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    return AmesError(message, "look at the paths that were given, output= among them, and at their rights")


def _drop_output() -> None:
    """The interpreter would complain once more when it flushes at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(words: list[str]) -> int:
    of_group = topic(words[0], VERBS) if len(words) == 2 and words[1] in _HELP else None
    said = of_group or _said(words)
    if said is not None:
        print(said)  # noqa: T201
        return 0
    name, rest = _split(words)
    verb = VERBS[name]
    from ames_ray.config.compose import compose

    config = compose(verb.load_config(rest), rest)
    # `ray job stop` and batch systems send SIGTERM; it must end like Ctrl-C does.
    signal.signal(signal.SIGTERM, _interrupt)
    verb.load_function()(config)
    return 0


def _said(words: list[str]) -> str | None:
    """The text that was asked for, or none where a verb is to run."""
    if not words or words[0] in {*_HELP, "help"}:
        return overview(GROUPS)
    if words[0] == "--version":
        return f"ames-ray {ames_ray.__version__}"
    if words[0] == "completion":
        from ames_ray.cli.completion import completion

        return completion(" ".join(words[1:]), VERBS)
    explain = words[0] == "config"
    if explain and not words[1:]:
        raise ConfigError(
            "'config' needs a verb", "for example: ames-ray config extract images=photos/ output=store/"
        )
    name, rest = _split(words[1:] if explain else words)
    if _HELP & set(rest):
        return page(name, VERBS[name], rest)
    if explain:
        from ames_ray.config.compose import compose

        return compose(VERBS[name].load_config(rest), rest).as_yaml()
    return None


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
