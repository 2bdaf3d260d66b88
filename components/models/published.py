"""Where Keras downloads the published ImageNet weights from, and whether it could.

Imports no Keras: a run that could not get its weights is refused before anything is done for it.
"""

import http.client
import os
import urllib.error
import urllib.request
from pathlib import Path

from components.base.errors import UsageError
from components.models.config import ModelConfig
from components.transform.config import TransformConfig

IMAGENET = "imagenet"
_STORE = "https://storage.googleapis.com"
# Sides, in pixels, that MobileNetV2 was published for; others get the weights of the last.
_MOBILENET_PX = (96, 128, 160, 192, 224)
_SECS = 5.0


def published_url(model: ModelConfig, transform: TransformConfig) -> str:
    """Return the address of the file that `model.weights: imagenet` means."""
    if model.name == "vgg16":
        return (
            f"{_STORE}/tensorflow/keras-applications/vgg16/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"
        )
    if model.name.startswith("efficientnet"):
        return f"{_STORE}/keras-applications/{model.name.replace('_', '')}_notop.h5"
    is_square = transform.height_px == transform.width_px
    px = transform.height_px if is_square and transform.height_px in _MOBILENET_PX else _MOBILENET_PX[-1]
    return (
        f"{_STORE}/tensorflow/keras-applications/mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_"
        f"{float(model.alpha or 1.0)}_{px}_no_top.h5"
    )


def cached_path(url: str) -> Path:
    """Return where Keras keeps what it has downloaded from an address."""
    home = os.environ.get("KERAS_HOME") or Path.home() / ".keras"
    return Path(home) / "models" / url.rpartition("/")[2]


def check_download(model: ModelConfig, transform: TransformConfig) -> None:
    """Refuse `model.weights: imagenet` where the file is neither here nor to be downloaded.

    Asks the server for the file's name alone, for five seconds at most, by the proxies of the environment.

    Raises:
        UsageError: It names the address, and what to do without it.
    """
    if model.weights != IMAGENET or model.builder:
        return
    url = published_url(model, transform)
    if cached_path(url).is_file():
        return
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=_SECS):
            return
    except (OSError, http.client.HTTPException, ValueError) as e:
        reason = getattr(e, "reason", None) or e
        raise UsageError(
            f"model.weights: imagenet: the weights of {model.name} are not on this machine and cannot be "
            f"downloaded from {url}: {reason}. Download that file where there is a network, and give "
            f"--set model.weights=FILE.h5 (or put it at {cached_path(url)}); model.weights=null starts from "
            "random weights"
        ) from e
