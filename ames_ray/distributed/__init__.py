"""Ray around the plain code: the only folder that imports ray."""

import os as _os
import secrets as _secrets
import sys as _sys
from pathlib import Path as _Path

# Ray reads all of these when it is imported; this package is imported before it. What a user set is kept.
for _name, _value in {
    "RAY_DATA_LOG_LEVEL": "ERROR",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    # A thread of Ray Data that outlives a run must not start another Ray.
    "RAY_ENABLE_AUTO_CONNECT": "0",
}.items():
    _os.environ.setdefault(_name, _value)

# The ports of a local Ray listen beyond localhost: a token that only this process knows keeps others out. A
# cluster has its own rules, and a user's own token is taken where there is one. A program that imported Ray
# before gets a token from Ray: it has read the mode already, and processes that it starts would read another.
if "ray" not in _sys.modules and not {"RAY_ADDRESS", "RAY_AUTH_MODE"} & _os.environ.keys():
    _os.environ["RAY_AUTH_MODE"] = "token"
    if not ("RAY_AUTH_TOKEN_PATH" in _os.environ or (_Path.home() / ".ray" / "auth_token").exists()):
        _os.environ.setdefault("RAY_AUTH_TOKEN", _secrets.token_hex(32))
