"""The classifiers of keras.applications, which a recipe names as `keras/<Name>`. Imports no Keras.

Some of these networks scale pixels themselves, so they take 0 to 255; the others take what the family's
`preprocess_input` gives. With pixels scaled twice or not at all a training raises no error and never gets
good, so each row says what its network takes. tests/models/test_applications.py compares the rows with Keras.
"""

import dataclasses

from components.transform.config import Normalization

PREFIX = "keras/"
# Of a detector on one of these networks.
DETECTOR_PREFIX = "ssd_keras/"
_STORE = "https://storage.googleapis.com/tensorflow/keras-applications"
_TF_KERNELS = "_weights_tf_dim_ordering_tf_kernels_notop.h5"


@dataclasses.dataclass(frozen=True)
class Application:
    """A network of keras.applications, and a row of the table in docs/models.md.

    Attributes:
        module: The module of `keras.applications` with the family's `preprocess_input`.
        parameters: How many it has without its top.
        features: Length of the vector that the head takes.
        designed_px: The height and width that it was designed for.
        smallest_px: The least height and width that it takes.
        normalization: What the published ImageNet weights were trained on.
        images_per_sec: Images of `designed_px` that two cores put through it (benchmarks/backbones.py).
        url: The published ImageNet weights without the top.
        saved_as: What Keras calls the downloaded file.
        source: The paper, as Markdown.
    """

    module: str
    parameters: int
    features: int
    designed_px: int
    smallest_px: int
    normalization: Normalization
    images_per_sec: float
    url: str
    saved_as: str
    source: str


def _family(
    module: str,
    normalization: Normalization,
    source: str,
    file: str,
    *rows: tuple[str, int, int, int, float],
    smallest_px: int = 32,
) -> dict[str, Application]:
    """Return the rows of one family: name, parameters, features, designed_px, images_per_sec.

    Args:
        module: See `Application`.
        normalization: Likewise.
        source: Likewise.
        file: The weights' address; `{}` is the network's name there.
        rows: The networks.
        smallest_px: See `Application`.
    """
    found = {}
    for name, parameters, features, designed_px, images_per_sec in rows:
        url = file.format(_FILE_NAMES.get(name, name.lower()))
        found[name] = Application(
            module,
            parameters,
            features,
            designed_px,
            smallest_px,
            normalization,
            images_per_sec,
            url,
            _SAVED_AS.get(name, url.rpartition("/")[2]),
            source,
        )
    return found


# What a file's address calls a network, where it is not its name in small letters.
_FILE_NAMES = {
    **{
        f"ConvNeXt{size}": f"convnext_{size.lower()}" for size in ("Tiny", "Small", "Base", "Large", "XLarge")
    },
    **{
        f"EfficientNetV2{size}": f"efficientnetv2-{size.lower()}" for size in ("B0", "B1", "B2", "B3", *"SML")
    },
    "MobileNetV3Small": "small",
    "MobileNetV3Large": "large",
    "NASNetMobile": "mobile",
    "NASNetLarge": "large",
}
_SAVED_AS = {"NASNetMobile": "nasnet_mobile_no_top.h5", "NASNetLarge": "nasnet_large_no_top.h5"}

APPLICATIONS: dict[str, Application] = {
    **_family(
        "convnext",
        "none",
        "Liu et al., [A ConvNet for the 2020s](https://arxiv.org/abs/2201.03545), 2022",
        f"{_STORE}/convnext/{{}}_notop.h5",
        ("ConvNeXtTiny", 27_820_128, 768, 224, 0.0),
        ("ConvNeXtSmall", 49_454_688, 768, 224, 0.0),
        ("ConvNeXtBase", 87_566_464, 1024, 224, 0.0),
        ("ConvNeXtLarge", 196_230_336, 1536, 224, 0.0),
        ("ConvNeXtXLarge", 348_147_968, 2048, 224, 0.0),
    ),
    **_family(
        "densenet",
        "imagenet",
        "Huang et al., [Densely connected networks](https://arxiv.org/abs/1608.06993), 2016",
        f"{_STORE}/densenet/{{}}{_TF_KERNELS}",
        ("DenseNet121", 7_037_504, 1024, 224, 0.0),
        ("DenseNet169", 12_642_880, 1664, 224, 0.0),
        ("DenseNet201", 18_321_984, 1920, 224, 0.0),
    ),
    **_family(
        "efficientnet",
        "none",
        "Tan and Le, [EfficientNet](https://arxiv.org/abs/1905.11946), 2019",
        "https://storage.googleapis.com/keras-applications/{}_notop.h5",
        ("EfficientNetB0", 4_049_571, 1280, 224, 0.0),
        ("EfficientNetB1", 6_575_239, 1280, 240, 0.0),
        ("EfficientNetB2", 7_768_569, 1408, 260, 0.0),
        ("EfficientNetB3", 10_783_535, 1536, 300, 0.0),
        ("EfficientNetB4", 17_673_823, 1792, 380, 0.0),
        ("EfficientNetB5", 28_513_527, 2048, 456, 0.0),
        ("EfficientNetB6", 40_960_143, 2304, 528, 0.0),
        ("EfficientNetB7", 64_097_687, 2560, 600, 0.0),
    ),
    **_family(
        "efficientnet_v2",
        "none",
        "Tan and Le, [EfficientNetV2](https://arxiv.org/abs/2104.00298), 2021",
        f"{_STORE}/efficientnet_v2/{{}}_notop.h5",
        ("EfficientNetV2B0", 5_919_312, 1280, 224, 0.0),
        ("EfficientNetV2B1", 6_931_124, 1280, 240, 0.0),
        ("EfficientNetV2B2", 8_769_374, 1408, 260, 0.0),
        ("EfficientNetV2B3", 12_930_622, 1536, 300, 0.0),
        ("EfficientNetV2S", 20_331_360, 1280, 384, 0.0),
        ("EfficientNetV2M", 53_150_388, 1280, 480, 0.0),
        ("EfficientNetV2L", 117_746_848, 1280, 480, 0.0),
    ),
    **_family(
        "inception_resnet_v2",
        "minus_one_one",
        "Szegedy et al., [Inception-v4 and Inception-ResNet](https://arxiv.org/abs/1602.07261), 2016",
        f"{_STORE}/inception_resnet_v2/inception_resnet_v2{_TF_KERNELS}",
        ("InceptionResNetV2", 54_336_736, 1536, 299, 0.0),
        smallest_px=75,
    ),
    **_family(
        "inception_v3",
        "minus_one_one",
        "Szegedy et al., [Rethinking Inception](https://arxiv.org/abs/1512.00567), 2015",
        f"{_STORE}/inception_v3/inception_v3{_TF_KERNELS}",
        ("InceptionV3", 21_802_784, 2048, 299, 19.1),
        smallest_px=75,
    ),
    **_family(
        "mobilenet",
        "minus_one_one",
        "Howard et al., [MobileNets](https://arxiv.org/abs/1704.04861), 2017",
        f"{_STORE}/mobilenet/mobilenet_1_0_224_tf_no_top.h5",
        ("MobileNet", 3_228_864, 1024, 224, 113.0),
    ),
    **_family(
        "mobilenet_v2",
        "minus_one_one",
        "Sandler et al., [MobileNetV2](https://arxiv.org/abs/1801.04381), 2018",
        f"{_STORE}/mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
        ("MobileNetV2", 2_257_984, 1280, 224, 105.0),
    ),
    **_family(
        "mobilenet_v3",
        "none",
        "Howard et al., [Searching for MobileNetV3](https://arxiv.org/abs/1905.02244), 2019",
        f"{_STORE}/mobilenet_v3/weights_mobilenet_v3_{{}}_224_1.0_float_no_top_v2.h5",
        ("MobileNetV3Small", 939_120, 576, 224, 305.0),
        ("MobileNetV3Large", 2_996_352, 960, 224, 113.0),
    ),
    **_family(
        "nasnet",
        "minus_one_one",
        "Zoph et al., [Learning transferable architectures](https://arxiv.org/abs/1707.07012), 2017",
        f"{_STORE}/nasnet/NASNet-{{}}-no-top.h5",
        ("NASNetMobile", 4_269_716, 1056, 224, 0.0),
        ("NASNetLarge", 84_916_818, 4032, 331, 0.0),
    ),
    **_family(
        "resnet",
        "imagenet_caffe",
        "He et al., [Deep residual learning](https://arxiv.org/abs/1512.03385), 2015",
        f"{_STORE}/resnet/{{}}{_TF_KERNELS}",
        ("ResNet50", 23_587_712, 2048, 224, 23.4),
        ("ResNet101", 42_658_176, 2048, 224, 0.0),
        ("ResNet152", 58_370_944, 2048, 224, 0.0),
    ),
    **_family(
        "resnet_v2",
        "minus_one_one",
        "He et al., [Identity mappings](https://arxiv.org/abs/1603.05027), 2016",
        f"{_STORE}/resnet/{{}}{_TF_KERNELS}",
        ("ResNet50V2", 23_564_800, 2048, 224, 28.0),
        ("ResNet101V2", 42_626_560, 2048, 224, 0.0),
        ("ResNet152V2", 58_331_648, 2048, 224, 0.0),
    ),
    **_family(
        "vgg16",
        "imagenet_caffe",
        "Simonyan and Zisserman, [Very deep networks](https://arxiv.org/abs/1409.1556), 2014",
        f"{_STORE}/vgg16/vgg16{_TF_KERNELS}",
        ("VGG16", 14_714_688, 512, 224, 9.14),
    ),
    **_family(
        "vgg19",
        "imagenet_caffe",
        "Simonyan and Zisserman, [Very deep networks](https://arxiv.org/abs/1409.1556), 2014",
        f"{_STORE}/vgg19/vgg19{_TF_KERNELS}",
        ("VGG19", 20_024_384, 512, 224, 7.91),
    ),
    **_family(
        "xception",
        "minus_one_one",
        "Chollet, [Xception](https://arxiv.org/abs/1610.02357), 2016",
        f"{_STORE}/xception/xception{_TF_KERNELS}",
        ("Xception", 20_861_480, 2048, 299, 9.67),
        smallest_px=71,
    ),
}


def prefix_of(name: str) -> str:
    """Return what a `model.name` begins with that is, or has, a network of keras.applications; else ""."""
    return next((prefix for prefix in (PREFIX, DETECTOR_PREFIX) if name.startswith(prefix)), "")


def keras_name(name: str) -> str:
    """Return what keras.applications calls the network of a `model.name`."""
    return name.removeprefix(prefix_of(name))


def application_named(name: str) -> Application | None:
    """Return the row of a `model.name`, or of a detector's backbone; None for any other network."""
    return APPLICATIONS.get(keras_name(name)) if prefix_of(name) else None
