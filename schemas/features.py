"""Names of the features and splits that every record of Mirante bears.

The names are the image conventions of ImageNet's TFRecords and of the TensorFlow Object Detection API, so
that existing TFRecords can be read as they are:
https://github.com/tensorflow/models/blob/master/research/object_detection/dataset_tools/create_pascal_tf_record.py

The image contract, for one record:

    image/encoded       bytes   one JPEG or PNG file, upright, 8 bits a channel, 1 or 3 channels
    image/format        bytes   b"jpeg" or b"png": what image/encoded is
    image/height        int64   pixels
    image/width         int64   pixels
    image/filename      bytes   UTF-8, the source's path relative to the input, "/" between folders
    image/key/sha256    bytes   hexadecimal SHA-256 of image/encoded

and for classification

    image/class/label   int64   0 .. classes - 1, the index of image/class/text in the sorted class list
    image/class/text    bytes   UTF-8, the class name

for multilabel classification lists with one value for each class of the image, empty for an image of no class

    image/class/label   int64   0 .. classes - 1, ascending
    image/class/text    bytes   UTF-8, the class names

or for detection lists with one value a box, empty where nothing is to be found:

    image/object/bbox/{xmin,ymin,xmax,ymax}     float   0 .. 1, shares of width and height from the upper left
    image/object/class/label                    int64   1 .. classes; 0 is the background
    image/object/class/text                     bytes   UTF-8, the class name
    image/object/difficult                      int64   1: not counted by the evaluation; may be missing
    image/object/truncated                      int64   1: part of it is not on the image; may be missing
"""

ENCODED = "image/encoded"
FORMAT = "image/format"
HEIGHT = "image/height"
WIDTH = "image/width"
FILENAME = "image/filename"
SHA256 = "image/key/sha256"
LABEL = "image/class/label"
LABEL_TEXT = "image/class/text"

BOX_XMIN = "image/object/bbox/xmin"
BOX_YMIN = "image/object/bbox/ymin"
BOX_XMAX = "image/object/bbox/xmax"
BOX_YMAX = "image/object/bbox/ymax"
BOX_LABEL = "image/object/class/label"
BOX_TEXT = "image/object/class/text"
BOX_DIFFICULT = "image/object/difficult"
BOX_TRUNCATED = "image/object/truncated"
# In the order of a box's numbers everywhere.
BOX_SIDES = (BOX_XMIN, BOX_YMIN, BOX_XMAX, BOX_YMAX)
BOX_FLAGS = (BOX_DIFFICULT, BOX_TRUNCATED)

# The type of every feature, as tf.train.Feature has it.
TYPES = {
    **dict.fromkeys((ENCODED, FORMAT, FILENAME, SHA256, LABEL_TEXT, BOX_TEXT), "bytes"),
    **dict.fromkeys((HEIGHT, WIDTH, LABEL, BOX_LABEL, *BOX_FLAGS), "int64"),
    **dict.fromkeys(BOX_SIDES, "float"),
}

CLASSIFICATION = "classification"
MULTILABEL = "multilabel"
DETECTION = "detection"
TASKS = (CLASSIFICATION, MULTILABEL, DETECTION)

TRAIN = "train"
EVAL = "eval"
TEST = "test"
SPLITS = (TRAIN, EVAL, TEST)

# What people call their evaluation split; `data.split_names` (or `--split-names`) overrides it.
EVAL_SYNONYMS = ("val", "valid", "validation", "dev")

# How the names of TFRecord files begin that have no manifest to tell their splits.
SPLIT_PREFIXES = {TRAIN: ("train",), EVAL: ("eval", *EVAL_SYNONYMS), TEST: ("test",)}

# File of a data folder that says what ingest put there; see components/ingest.
MANIFEST = "manifest.json"
