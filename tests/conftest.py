"""For all tests: hypothesis without deadlines, because machines that test are busy machines."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("project", deadline=None)
settings.load_profile("project")
