"""Files and weights of a Hugging Face model, by its id or from a folder."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ames_ray.errors import WeightsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transformers import PretrainedConfig

# Some files lack this layer, which is added for training and not for features.
_UNUSED = "pooler."


def locate(model: str, patterns: tuple[str, ...], what: str) -> Path:
    """The folder that holds files of a model, fetched once into the Hugging Face cache if it is an id.

    Args:
        model: Folder or id.
        patterns: File names to fetch, `*` allowed.
        what: Name of the file that is wanted most, for the message.

    Raises:
        WeightsError: They cannot be had; names the file, and where to put it.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    hint = (
        f"on a machine with network run `hf download {model}`, copy that folder here, "
        f"and give the folder instead of the id; it must hold {what}"
    )
    try:
        return Path(snapshot_download(model, allow_patterns=list(patterns)))
    except HFValidationError:
        raise WeightsError(f"{model} is neither a folder nor a Hugging Face id", "check the path") from None
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = type(error).__name__
        raise WeightsError(
            f"{what} of {model} is neither in the cache nor reachable ({reason})", hint
        ) from None


def load_pretrained(model: str, config: PretrainedConfig) -> tuple[Any, str]:
    """The `transformers` model of `config` with the weights of a folder or id, every one of them matched.

    Nothing that lies there is unpickled or run.

    Returns:
        The model in float32 and evaluation mode, and the SHA-256 of its weights.

    Raises:
        WeightsError: There is no weights file, or it lacks a weight or holds one of another shape.
    """
    from transformers import AutoModel

    from ames_ray.backbones.weights import require_matched, sha256_files, warn_unexpected

    folder = locate(model, ("model*.safetensors", "*.json"), "model.safetensors")
    files = sorted(folder.glob("model*.safetensors"))
    if not files:
        pickled = ", only pickles, which are not read" if any(folder.glob("*.bin")) else ""
        raise WeightsError(
            f"{folder} holds no model.safetensors{pickled}",
            "fetch it with `hf download`, or let save_pretrained of transformers write it",
        )
    with _quiet():
        loaded, report = AutoModel.from_pretrained(
            folder,
            config=config,
            dtype="float32",
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    missing = [name for name in sorted(report["missing_keys"]) if not name.startswith(_UNUSED)]
    require_matched(loaded, missing, sorted(report["mismatched_keys"]), model)
    warn_unexpected(sorted(report["unexpected_keys"]), model)
    return loaded.eval(), sha256_files(files)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the progress bars and reports of `transformers` back; what matters in them is said by us."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
