"""Ray around the plain code: the only folder that imports ray."""

import os as _os

# Ray reads these when it is imported; this package is imported before it. What a user set is kept.
for _name, _value in {
    "RAY_DATA_LOG_LEVEL": "ERROR",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
}.items():
    _os.environ.setdefault(_name, _value)
