"""Where Keras downloads the published ImageNet weights from, and whether it could.

Imports no Keras: a run that could not get its weights is refused before anything is done for it.
"""

import http.client
import os
import urllib.error
import urllib.request
from pathlib import Path

from components.base.errors import UsageError
from components.models.applications import APPLICATIONS, Application, keras_name
from components.models.config import ModelConfig
from components.transform.config import TransformConfig

IMAGENET = "imagenet"
# Sides, in pixels, that MobileNets were published for besides 224; images of others get the weights of 224.
_OTHER_PX = {"mobilenet": (128, 160, 192), "mobilenet_v2": (96, 128, 160, 192)}
_SECS = 5.0


def published_url(model: ModelConfig, transform: TransformConfig) -> str:
    """Return the address of the file that `model.weights: imagenet` means."""
    url = _application(model).url.replace("_1.0_", f"_{float(model.alpha or 1.0)}_")
    is_square = transform.height_px == transform.width_px
    if is_square and transform.height_px in _OTHER_PX.get(_application(model).module, ()):
        return url.replace("_224_", f"_{transform.height_px}_")
    return url


def cached_path(model: ModelConfig, transform: TransformConfig) -> Path:
    """Return where Keras keeps the file that `model.weights: imagenet` means, once it has it."""
    home = os.environ.get("KERAS_HOME") or Path.home() / ".keras"
    row = _application(model)
    name = row.saved_as if row.module == "nasnet" else published_url(model, transform).rpartition("/")[2]
    return Path(home) / "models" / name


def _application(model: ModelConfig) -> Application:
    """Return the row of the network of keras.applications that a network is built from."""
    name = {"mobilenet_v2": "MobileNetV2", "ssd_mobilenet_v2": "MobileNetV2", "vgg16": "VGG16"}.get(
        model.name
    )
    if name is None and model.name.startswith("efficientnet_"):
        name = f"EfficientNet{model.name[-2:].upper()}"
    return APPLICATIONS[name or keras_name(model.name)]


def check_download(model: ModelConfig, transform: TransformConfig) -> None:
    """Refuse `model.weights: imagenet` where the file is neither here nor to be downloaded.

    Asks the server for the file's name alone, for five seconds at most, by the proxies of the environment.

    Raises:
        UsageError: It names the address, and what to do without it.
    """
    if model.weights != IMAGENET or model.builder:
        return
    url, path = published_url(model, transform), cached_path(model, transform)
    if path.is_file():
        return
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=_SECS):
            return
    except (OSError, http.client.HTTPException, ValueError) as e:
        reason = getattr(e, "reason", None) or e
        raise UsageError(
            f"model.weights: imagenet: the weights of {model.name} are not on this machine and cannot be "
            f"downloaded from {url}: {reason}. Download that file where there is a network, and give "
            f"--set model.weights=FILE.h5 (or put it at {path}); model.weights=null starts from "
            "random weights"
        ) from e
