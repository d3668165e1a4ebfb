"""What every job object is: frozen, without unknown keys, and able to explain itself."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class JobConfig(BaseModel):
    """Base of the job objects. Field descriptions are the texts that `--help` and the reference print."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    verb: ClassVar[str]
    """Name of the command and of its YAML file in `configs/`."""
    examples: ClassVar[tuple[str, ...]]
    """Complete commands."""
    positional: ClassVar[tuple[str, ...]] = ()
    """Settings that words without `=` give, in this order."""
    moved: ClassVar[dict[str, str]] = {}
    """Names that other tools use for our settings."""

    @classmethod
    def setting_names(cls) -> frozenset[str]:
        """Names of all settings."""
        return frozenset(cls.model_fields)

    def as_yaml(self) -> str:
        """All settings with their values, resolved and checked, in the order of the help."""
        import yaml

        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
