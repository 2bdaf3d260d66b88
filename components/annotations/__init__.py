"""Boxes of images in the formats of other programs: Pascal VOC, COCO and CSV."""
