"""Pascal VOC: an XML file next to each image."""

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from components.annotations.image import AnnotatedImage


class Writer:
    """Writes `cat.xml` next to `cat.jpg`; scores have no place in it."""

    def __init__(self, folder: Path, class_names: Sequence[str]):
        self._folder = folder

    def add(self, image: AnnotatedImage) -> None:
        """Write the XML file of an image."""
        root = ElementTree.Element("annotation")
        ElementTree.SubElement(root, "filename").text = image.path.rpartition("/")[2]
        size = ElementTree.SubElement(root, "size")
        for name, value in (("width", image.width), ("height", image.height)):
            ElementTree.SubElement(size, name).text = str(value)
        for box in image.boxes:
            element = ElementTree.SubElement(root, "object")
            ElementTree.SubElement(element, "name").text = box.label
            for name, flag in (("difficult", box.difficult), ("truncated", box.truncated)):
                ElementTree.SubElement(element, name).text = str(int(flag))
            corners = ElementTree.SubElement(element, "bndbox")
            for name, side in zip(("xmin", "ymin", "xmax", "ymax"), box.sides, strict=True):
                ElementTree.SubElement(corners, name).text = side
        ElementTree.indent(root)
        path = (self._folder / image.place).with_suffix(".xml")
        path.write_bytes(ElementTree.tostring(root, encoding="utf-8") + b"\n")

    def close(self) -> None:
        """Do nothing: all files are written."""
