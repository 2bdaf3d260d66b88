"""The formats that boxes are written in. Imports nothing heavy.

A new format is a module with a class `Writer` (`components.annotations.image.AnnotationWriter`), and a row of
`FORMATS`.
"""

# Name of a format, and its files in words.
FORMATS = {
    "voc": "an XML file next to each image",
    "coco": "_annotations.coco.json in the folder of each split",
    "csv": "boxes.csv with a row for each box",
}
