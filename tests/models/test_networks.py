"""The table of built-in networks, and the page that is written from it."""

from __future__ import annotations

import importlib.util

from components.base.task import TASKS
from components.models.networks import NETWORKS, SPECIAL_KEYS, networks_for, shorten_names
from pipeline.recipe.networks_reference import PAGE, format_applications, format_table, replace_table


def test_the_page_lists_the_networks_as_they_are() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for table in (format_table(), format_applications()):
        assert table in page, "run `make docs`"


def test_a_row_in_the_table() -> None:
    row = "| `vgg16` | classification | 224 | 32 | 14.7 M | 512 | `imagenet_caffe` | Simonyan and Zisserman, "
    assert row in format_table()
    assert replace_table("Networks\n\n| `model.name` | old |\n| x | y |\n\nMore\n") == (
        f"Networks\n\n{format_table()}\nMore\n"
    )


def test_every_network_has_a_module_a_task_and_known_keys() -> None:
    for name, network in NETWORKS.items():
        assert importlib.util.find_spec(f"components.models.{network.module}"), name
        assert network.task in TASKS, name
        assert set(network.keys) <= set(SPECIAL_KEYS), name


def test_networks_are_found_by_task() -> None:
    of_detection = networks_for("detection")
    assert of_detection[:2] == ["ssd_mobilenet_v2", "ssd_keras/ConvNeXtTiny"]
    assert shorten_names(of_detection) == ["ssd_mobilenet_v2", "ssd_keras/<Name>"]
    assert not [name for name in of_detection if "NASNet" in name]
    assert networks_for("classification")[:3] == ["lenet", "cifar_resnet", "mnist_cnn"]
