"""The built-in networks. Imports no TensorFlow.

A new network is a module with `build(config, input_shape, num_classes)` and a row of `NETWORKS`.
"""

import dataclasses
from collections.abc import Iterable
from typing import Any

from pydantic import TypeAdapter

from components.models.applications import APPLICATIONS, DETECTOR_PREFIX, PREFIX, Application, prefix_of
from components.models.layers.config import Layer, LayerConfig
from components.transform.config import Normalization

# The least images of a detector, and those that one is designed for.
_DETECTOR_PX = (64, 320)
# Keys of the recipe's part `model` that only some networks have.
SPECIAL_KEYS = ("alpha", "batch_norm", "residual", "layers", "detection")


@dataclasses.dataclass(frozen=True)
class Network:
    """A built-in network, and a row of the table in docs/models.md.

    Attributes:
        module: The module of `components.models` whose `build` returns the network's parts.
        smallest_px: The least height and width that it takes.
        designed_px: The height and width that it was designed for.
        parameters: How many it has without the layer that gives the classes, in words.
        features: Length of the vector that the head takes, in words.
        source: The paper, as Markdown.
        task: The task that the network is for.
        normalization: What the published ImageNet weights were trained on; None if there are none. With
            other pixels a training raises no error and never gets good, so a recipe that asks for them is
            refused.
        keys: Those of `SPECIAL_KEYS` that it has.
        layers: Those of a network that is a list of layers.
        has_any_size: Whether its weights are the same for images of any size.
    """

    module: str
    smallest_px: int
    designed_px: int
    parameters: str
    features: str
    source: str
    task: str = "classification"
    normalization: Normalization | None = None
    keys: tuple[str, ...] = ()
    layers: tuple[LayerConfig, ...] | None = None
    has_any_size: bool = True

    @property
    def has_alpha(self) -> bool:
        """True for a network with a width, `model.alpha`."""
        return "alpha" in self.keys


def _efficientnet(designed_px: int, parameters: str, features: str, source: str = "the same") -> Network:
    return Network("efficientnet", 32, designed_px, parameters, features, source, normalization="none")


def _classifier(row: Application) -> Network:
    return Network(
        module="keras_application",
        smallest_px=row.smallest_px,
        designed_px=row.designed_px,
        normalization=row.normalization,
        parameters=f"{row.parameters / 1e6:.3g} M",
        features=str(row.features),
        source=row.source,
    )


def _detector(row: Application) -> Network:
    return dataclasses.replace(
        _classifier(row),
        module="ssd_keras",
        task="detection",
        smallest_px=max(_DETECTOR_PX[0], row.smallest_px),
        designed_px=max(_DETECTOR_PX[1], row.designed_px),
        keys=("detection",),
        features="two maps, see [object detection](detection.md)",
        has_any_size=False,
    )


def _read(*layers: Any) -> tuple[LayerConfig, ...]:
    return tuple(TypeAdapter(list[Layer]).validate_python(layers))


NETWORKS: dict[str, Network] = {
    "lenet": Network(
        module="lenet",
        smallest_px=16,
        designed_px=28,
        keys=("batch_norm", "residual"),
        parameters="0.12 M (all of it)",
        features="800 at 28 px",
        source="LeCun et al., [Gradient-based learning applied to document recognition]"
        "(http://yann.lecun.com/exdb/publis/pdf/lecun-01a.pdf), 1998",
        has_any_size=False,
    ),
    "cifar_resnet": Network(
        module="cifar_resnet",
        smallest_px=2,
        designed_px=32,
        parameters="0.31 M",
        features="128",
        source="He et al., [Deep residual learning](https://arxiv.org/abs/1512.03385), 2015, and "
        "[Identity mappings](https://arxiv.org/abs/1603.05027), 2016",
    ),
    "mnist_cnn": Network(
        module="layer_list",
        smallest_px=4,
        designed_px=28,
        parameters="3.27 M (all of it)",
        features="3136 at 28 px",
        source="5 x 5 convolutions of 32 and 64 filters, each pooled; 1024 dense units; dropout 0.5",
        layers=_read(
            {"type": "conv", "filters": 32, "size": 5},
            "max_pool",
            {"type": "conv", "filters": 64, "size": 5},
            "max_pool",
            "flatten",
            {"type": "dense", "units": 1024},
            {"type": "dropout", "rate": 0.5},
        ),
    ),
    "cifar_cnn": Network(
        module="layer_list",
        smallest_px=18,
        designed_px=32,
        parameters="0.12 M (all of it)",
        features="1024 at 32 px",
        source="that of TensorFlow's [tutorial](https://www.tensorflow.org/tutorials/images/cnn)",
        layers=_read(
            {"type": "conv", "filters": 32, "padding": "valid"},
            "max_pool",
            {"type": "conv", "filters": 64, "padding": "valid"},
            "max_pool",
            {"type": "conv", "filters": 64, "padding": "valid"},
            "flatten",
            {"type": "dense", "units": 64},
        ),
    ),
    "layers": Network(
        module="layer_list",
        smallest_px=1,
        designed_px=28,
        keys=("layers",),
        parameters="those of `model.layers`",
        features="those of `model.layers`",
        source="[your own list of layers](#a-list-of-layers)",
    ),
    "mobilenet_v2": Network(
        module="mobilenet_v2",
        smallest_px=32,
        designed_px=224,
        normalization="minus_one_one",
        keys=("alpha",),
        parameters="2.26 M at `alpha` 1.0 (0.41 M at 0.35, 4.36 M at 1.4)",
        features="1280 (1792 at 1.4)",
        source="Sandler et al., [MobileNetV2](https://arxiv.org/abs/1801.04381), 2018",
    ),
    "vgg16": Network(
        module="vgg16",
        smallest_px=32,
        designed_px=224,
        normalization="imagenet_caffe",
        parameters="14.7 M",
        features="512",
        source="Simonyan and Zisserman, [Very deep convolutional networks](https://arxiv.org/abs/1409.1556), "
        "2014",
    ),
    "efficientnet_b0": _efficientnet(
        224, "4.05 M", "1280", "Tan and Le, [EfficientNet](https://arxiv.org/abs/1905.11946), 2019"
    ),
    "efficientnet_b1": _efficientnet(240, "6.58 M", "1280"),
    "efficientnet_b2": _efficientnet(260, "7.77 M", "1408"),
    "efficientnet_b3": _efficientnet(300, "10.8 M", "1536"),
    "efficientnet_b4": _efficientnet(380, "17.7 M", "1792"),
    "efficientnet_b5": _efficientnet(456, "28.5 M", "2048"),
    "efficientnet_b6": _efficientnet(528, "41.0 M", "2304"),
    "efficientnet_b7": _efficientnet(600, "64.1 M", "2560"),
    "ssd_mobilenet_v2": Network(
        module="ssd_mobilenet_v2",
        task="detection",
        smallest_px=64,
        designed_px=320,
        normalization="minus_one_one",
        keys=("alpha", "detection"),
        parameters="3.03 M at `alpha` 1.0",
        features="two maps, see [object detection](detection.md)",
        source="Liu et al., [SSD](https://arxiv.org/abs/1512.02325), 2016, on MobileNetV2",
        has_any_size=False,
    ),
    **{f"{PREFIX}{name}": _classifier(row) for name, row in APPLICATIONS.items()},
    **{
        f"{DETECTOR_PREFIX}{name}": _detector(row)
        for name, row in APPLICATIONS.items()
        # A cell of these networks looks at the two before it, so no map of theirs has all that is known.
        if row.module != "nasnet"
    },
}


def networks_for(task: str) -> list[str]:
    """Return the names of the networks for a task."""
    return [name for name, network in NETWORKS.items() if network.task == task]


def names_like(name: str) -> list[str]:
    """Return the names to choose from for a name that is unknown: Keras' alone if it begins as they do."""
    prefix = prefix_of(name.lower())
    return [each for each in NETWORKS if each.startswith(prefix)] if prefix else shorten_names(NETWORKS)


def shorten_names(names: Iterable[str]) -> list[str]:
    """Return names of networks, with `keras/<Name>` for all of keras.applications."""
    return list(dict.fromkeys(f"{prefix_of(name)}<Name>" if prefix_of(name) else name for name in names))
