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
    image/class/label   int64   0 .. classes - 1, the index of image/class/text in the sorted class list
    image/class/text    bytes   UTF-8, the class name
"""

ENCODED = "image/encoded"
FORMAT = "image/format"
HEIGHT = "image/height"
WIDTH = "image/width"
FILENAME = "image/filename"
SHA256 = "image/key/sha256"
LABEL = "image/class/label"
LABEL_TEXT = "image/class/text"

TRAIN = "train"
EVAL = "eval"
TEST = "test"
SPLITS = (TRAIN, EVAL, TEST)

# What people call their evaluation split; `data.split_names` (or `--split-names`) overrides it.
EVAL_SYNONYMS = ("val", "valid", "validation", "dev")

# File of a data folder that says what ingest put there; see components/ingest.
MANIFEST = "manifest.json"
