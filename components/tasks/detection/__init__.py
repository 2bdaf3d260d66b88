"""Object detection: what differs from classification, from boxes to signatures.

geometry.py   IoU, GIoU, clipping, and boxes as offsets from anchors
matching.py   which anchor answers for which box
losses.py     focal loss, hard-negative mining, smooth L1, GIoU
nms.py        the best boxes of an image, in a graph of fixed shapes
transform.py  what goes along with the pixels
mistakes.py   what a detector got wrong
augment.py    training images and their boxes, varied together
trainer.py    what is learned
guard.py      stops a training that finds nothing
serving.py    the signatures
coco_eval.py, tally.py, sample.py, tfma_metric.py, evaluator.py   COCO's metrics for TFMA
error_kinds.py, confidence.py, report.py     the Evaluator's report for users
answers.py    a pushed model's answers: their checks, and predictions
data_gate.py, samples.py    problems and counts of boxes, and a drawing of some

Everywhere, boxes are float32 [..., 4] as (xmin, ymin, xmax, ymax), shares 0..1 of the image's width and
height, and labels are whole numbers 1..classes; 0 is background and padding.
"""

from components.base.task import Task
from schemas import features

TASK = Task(
    name=features.DETECTION,
    records=features.DETECTION,
    gives="boxes",
    metrics=("map", "map_50", "map_75"),
    more_metrics=("map_small", "map_medium", "map_large", "ar_1", "ar_10", "ar_100"),
    class_metrics=("map", "map_50", "map_75", "ar_100"),
    objectives=("eval_map_50", "eval_loss"),
    label=features.BOX_LABEL,
    text=features.BOX_TEXT,
    first_label=1,
    min_classes=1,
)
