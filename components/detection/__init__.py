"""Object detection: what differs from classification, from boxes to signatures.

boxes.py      IoU, GIoU, clipping, and boxes as offsets from anchors
anchors.py    where anchors are, and of which shapes
matching.py   which anchor answers for which box
losses.py     focal loss, hard-negative mining, smooth L1, GIoU
nms.py        the best boxes of an image, in a graph of fixed shapes
ssd.py        the network
inputs.py     boxes and labels of an image as one tensor
augment.py    training images and their boxes, varied together
task.py       all of this as the Trainer's task
guard.py      stops a training that finds nothing
serving.py    the signatures
coco_eval.py, tfma_metric.py, evaluator.py   COCO's metrics, gathered by TFMA, and the Evaluator's report
error_kinds.py, charts.py, report.py   what is wrong with detections, and how it is shown
draw.py       boxes drawn on images

Everywhere, boxes are float32 [..., 4] as (xmin, ymin, xmax, ymax), shares 0..1 of the image's width and
height, and labels are whole numbers 1..classes; 0 is background, and fills up what has fewer boxes.
"""
