"""What every job object is: frozen, without unknown keys, and able to explain itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from collections.abc import Sequence


class JobConfig(BaseModel):
    """Base of the job objects. Field descriptions are the texts that `--help` and the reference print."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)

    verb: ClassVar[str]
    """Name of the command."""
    groups: ClassVar[str] = ""
    """Name of the YAML file in `configs/` with its groups; that of the command where it is empty."""
    examples: ClassVar[tuple[str, ...]]
    """Complete commands."""
    positional: ClassVar[tuple[str, ...]] = ()
    """Settings that words without `=` give, in this order."""
    moved: ClassVar[dict[str, str]] = {}
    """Names that other tools use, and ours: `setting` or `setting=value`; skipped where a job lacks it."""
    instead: ClassVar[dict[str, str]] = {}
    """Names that other tools use for what is no setting here, and what to do instead."""

    @classmethod
    def for_words(cls, words: Sequence[str]) -> type[JobConfig]:
        """The class for a command's words: a verb may have settings that depend on another one."""
        del words
        return cls

    @classmethod
    def setting_names(cls) -> frozenset[str]:
        """Names of all settings."""
        return frozenset(cls.model_fields)

    @classmethod
    def moved_to(cls, name: str) -> str | None:
        """What a name of another tool is called here; the authors nest theirs, as in `test_dataset.lamb`."""
        last = name.rpartition(".")[2]
        known = [cls.moved.get(name, "")]
        known += [] if name in cls.instead else [cls.moved.get(last, ""), last]
        return next((ours for ours in known if ours.partition("=")[0] in cls.model_fields), None)

    def as_yaml(self) -> str:
        """All settings with their values, resolved and checked, in the order of the help."""
        import yaml

        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
