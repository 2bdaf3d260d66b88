"""The canonical form of encoded images in TensorFlow: `canonical_bytes` for a model that is served.

A served model gets files as they are: turned by EXIF, with alpha. `canonical` returns an upright JPEG or PNG
with 8 bits and 1 or 3 channels as it is, and writes any other image that it can do right as PNG. The pixels
are to the bit those that `components.ingest.canonical.canonical_bytes` gives, and so those that training saw:

    JPEG, 1 or 3 channels        turned upright by its EXIF orientation
    PNG of any kind              8 bits, upright by its eXIf chunk, alpha and transparent colour on white;
                                 of 16 bits only where `data.bit_depth` of what was trained on is 16

It refuses everything else, and says what to do: CMYK, animated PNGs, GIF, WebP, BMP, TIFF. Damage is the
exception: TensorFlow decodes a JPEG with half its data and an end, which ingest and `mirante predict` reject.

Only TensorFlow's own operations are used, so that a SavedModel can hold it.
"""

import re

import tensorflow as tf

_ADVICE = "convert it to an RGB JPEG or PNG, or ask with `mirante predict`, which does"
_EXIF = b"Exif\x00\x00"
_EXIF_ORIENTATION = 0x0112
# Bytes a value of each TIFF type; 0 for none: https://www.loc.gov/preservation/digital/formats/fdd/fdd000022.shtml
_UNIT_BYTES = (0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8, 0)
_WHOLE_NUMBERS = (3, 4, 6, 8, 9, 13, 16)
_START_OF_SCAN = 0xDA
# Segments that may come before the first scan and have a length: frames, tables, APPn, comments.
_SEGMENTS = (*range(0xC0, 0xC8), *range(0xC9, 0xD0), 0xDB, 0xDD, *range(0xE0, 0xF0), 0xFE)
_GREY, _PALETTE, _GREY_ALPHA = 0, 3, 4
# The kind of a JPEG; those of PNGs are below it.
_JPEG = 4


# Nothing for AutoGraph to rewrite, which it would do with every function below, for seconds.
@tf.autograph.experimental.do_not_convert
def canonical(images: tf.Tensor, bit_depth: str | None = None) -> tf.Tensor:
    """Turn encoded images, string [N], into their canonical form, string [N].

    Args:
        images: The files.
        bit_depth: `data.bit_depth`, if it is not the default: then PNGs of 16 bits are refused.

    Raises:
        tf.errors.InvalidArgumentError: Not an image, or in a form that only ingest can convert.
    """
    return tf.map_fn(
        lambda encoded: _canonical(encoded, bit_depth),
        images,
        fn_output_signature=tf.TensorSpec([], tf.string),
    )


def reason_of(error: tf.errors.OpError) -> str:
    """Return what an operation or assertion said, without TensorFlow's names of nodes and devices."""
    lines = error.message.splitlines()
    # The errors of a graph begin with where it was built, and end with the node, after what was said.
    node = next((number for number, line in enumerate(lines) if "[[{{node" in line), 1)
    said = re.sub(r"\{\{.*?\}\}\s*|\s*\[Op:.*|\s*\[\[.*", "", lines[max(node - 1, 0)])
    return re.sub(r"^assertion failed: \[(.*)\]$", r"\1", said).replace("\\'", "'")


def _canonical(encoded: tf.Tensor, bit_depth: str | None) -> tf.Tensor:
    is_png = tf.strings.substr(encoded, 0, 8) == b"\x89PNG\r\n\x1a\n"
    is_jpeg = tf.strings.substr(encoded, 0, 3) == b"\xff\xd8\xff"
    encoded = _require(is_png | is_jpeg, encoded, "expected a JPEG or PNG, got another format")
    # What both formats need is traced once, after this: tracing is most of what an export costs.
    exif, kind, is_plain = tf.cond(
        is_jpeg, lambda: _look_at_jpeg(encoded), lambda: _look_at_png(encoded, bit_depth)
    )
    orientation = tf.cond(tf.strings.length(exif) > 0, lambda: _read_orientation(exif), lambda: _whole(1))

    def rewritten() -> tf.Tensor:
        return tf.io.encode_png(_turn_upright(_decode(encoded, kind), orientation), compression=0)

    return tf.cond(is_plain & (orientation == 1), lambda: encoded, rewritten)


def _decode(encoded: tf.Tensor, kind: tf.Tensor) -> tf.Tensor:
    """Return pixels without alpha; kinds: gray, gray with alpha, colour, colour with alpha, JPEG."""
    decoders = (
        lambda: tf.io.decode_png(encoded, channels=1),
        lambda: _lay_on_white(tf.io.decode_png(encoded, channels=4)[..., ::3]),
        lambda: tf.io.decode_png(encoded, channels=3),
        lambda: _lay_on_white(tf.io.decode_png(encoded, channels=4)),
        lambda: tf.io.decode_jpeg(encoded, channels=0, dct_method="INTEGER_ACCURATE"),
    )
    return tf.switch_case(kind, decoders)


def _require(condition: tf.Tensor, value: tf.Tensor, what: str) -> tf.Tensor:
    """Return the value; where the condition does not hold, the graph fails and says what was expected."""
    with tf.control_dependencies([tf.debugging.Assert(condition, [f"image: {what}; {_ADVICE}"])]):
        return tf.identity(value)


def _whole(number: int) -> tf.Tensor:
    return tf.constant(number, tf.int64)


def _has(encoded: tf.Tensor, pattern: str) -> tf.Tensor:
    """Return whether the bytes match somewhere."""
    without = tf.strings.regex_replace(encoded, pattern, "", replace_global=False)
    return tf.strings.length(without) < tf.strings.length(encoded)


def _look_at_jpeg(encoded: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Return the EXIF block, "" for none, the kind for `_decode`, and whether it may stay as it is."""
    channels = tf.image.extract_jpeg_shape(encoded)[2]
    encoded = _require((channels == 1) | (channels == 3), encoded, "expected 1 or 3 channels, got CMYK")
    # Nearly free where there is no EXIF; if these bytes are anything else, the walk finds out.
    exif = tf.cond(_has(encoded, r"Exif\x00\x00"), lambda: _jpeg_exif(encoded), lambda: tf.constant(b""))
    return exif, tf.constant(_JPEG), tf.constant(True)


def _jpeg_exif(encoded: tf.Tensor) -> tf.Tensor:
    """Return the EXIF blocks of a JPEG joined, without their marks; "" if there are none."""
    length = tf.strings.length(encoded)

    def walk(position: tf.Tensor, exif: tf.Tensor, _: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        head = tf.cast(tf.io.decode_raw(tf.strings.substr(encoded, position, 4), tf.uint8), tf.int32)
        marker, size = head[1], head[2] * 256 + head[3]
        is_fill = marker == 0xFF
        is_scan = marker == _START_OF_SCAN
        is_segment = tf.reduce_any(marker == tf.constant(_SEGMENTS))
        next_position = tf.where(is_fill, position + 1, position + 2 + size)
        fits = is_fill | is_scan | (is_segment & (next_position + 4 <= length))
        exif = _require((head[0] == 0xFF) & fits, exif, "a JPEG's segments do not follow each other")
        is_exif = (marker == 0xE1) & (size >= 8) & (tf.strings.substr(encoded, position + 4, 6) == _EXIF)
        block = tf.strings.substr(encoded, position + 10, tf.where(is_exif, size - 8, 0))
        return next_position, tf.strings.join([exif, block]), is_scan

    return tf.while_loop(
        lambda position, exif, is_scan: ~is_scan,
        walk,
        (tf.constant(2), tf.constant(b""), tf.constant(False)),
        parallel_iterations=1,
    )[1]


def _look_at_png(encoded: tf.Tensor, bit_depth: str | None) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Return the EXIF block, "" for none, the kind for `_decode`, and whether it may stay as it is."""
    is_header = tf.strings.substr(encoded, 8, 8) == b"\x00\x00\x00\x0dIHDR"
    long_enough = tf.strings.length(encoded) >= 45
    encoded = _require(
        is_header & long_enough, encoded, "a PNG's first chunk is no header, or nothing follows"
    )
    bits, colour = tf.unstack(
        tf.cast(tf.io.decode_raw(tf.strings.substr(encoded, 24, 2), tf.uint8), tf.int32), 2
    )
    if bit_depth is not None:
        what = f"expected 8 bits per channel for a model with data.bit_depth {bit_depth}, got 16"
        encoded = _require(bits < 16, encoded, what)
    exif, transparency = tf.cond(
        _has(encoded, "tRNS|eXIf|acTL"),
        lambda: _png_extras(encoded, bits, colour),
        lambda: (tf.constant(b""), tf.constant(b"")),
    )
    # For 16-bit gray, Pillow ignores the transparent level.
    is_keyed = (tf.strings.length(transparency) > 0) & ~((bits == 16) & (colour == _GREY))
    has_alpha = (colour >= _GREY_ALPHA) | is_keyed
    # Pillow has no mode for two channels of 16 bits.
    is_grey = (colour == _GREY) | ((colour == _GREY_ALPHA) & (bits == 8))
    is_plain = (bits == 8) & (colour != _PALETTE) & ~has_alpha
    kind = tf.where(is_grey, 0, 2) + tf.cast(has_alpha, tf.int32)
    return exif, kind, is_plain


def _png_extras(encoded: tf.Tensor, bits: tf.Tensor, colour: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the contents of the chunks eXIf and tRNS of a PNG, "" for a missing one."""
    length = tf.cast(tf.strings.length(encoded), tf.int64)

    def walk(
        position: tf.Tensor,
        name: tf.Tensor,
        exif: tf.Tensor,
        transparency: tf.Tensor,
        palette: tf.Tensor,
        data: tf.Tensor,
    ) -> tuple[tf.Tensor, ...]:
        size = _number(tf.io.decode_raw(tf.strings.substr(encoded, position, 4), tf.uint8), is_big=True)
        end = position + 12 + size
        name = tf.strings.substr(encoded, position + 4, 4)
        position = _require(
            (end + 12 <= length) | (name == b"IEND"), position, "a PNG ends before its IEND chunk"
        )

        def content(of: bytes, otherwise: tf.Tensor) -> tf.Tensor:
            found = tf.strings.substr(encoded, position + 8, tf.where(name == of, size, _whole(0)))
            return tf.where(name == of, found, otherwise)

        refused = (name == b"acTL") | (
            (name == b"tRNS") & ~_is_usual(content(b"tRNS", b""), bits, colour, palette, data)
        )
        exif = _require(
            ~refused, content(b"eXIf", exif), "got an animated PNG, or one with an unusual transparent colour"
        )
        return (
            end,
            name,
            exif,
            content(b"tRNS", transparency),
            tf.where(name == b"PLTE", size // 3, palette),
            data | (name == b"IDAT"),
        )

    start = _whole(8)
    nothing = tf.constant(b"")
    found = tf.while_loop(
        lambda position, name, *_: name != b"IEND",
        walk,
        (start, nothing, nothing, nothing, _whole(0), tf.constant(False)),
        parallel_iterations=1,
    )
    return found[2], found[3]


def _is_usual(
    transparency: tf.Tensor, bits: tf.Tensor, colour: tf.Tensor, palette: tf.Tensor, data: tf.Tensor
) -> tf.Tensor:
    """Return whether Pillow and libpng read a tRNS chunk alike: in its place, of right length, 8 bits."""
    size = tf.cast(tf.strings.length(transparency), tf.int64)
    # The upper bytes of 16.
    upper = tf.io.decode_raw(transparency, tf.uint8)[::2]
    of_levels = (size == tf.where(colour == _GREY, _whole(2), _whole(6))) & tf.reduce_all(upper == 0)
    grey_16 = (bits == 16) & (colour == _GREY)
    of_palette = (size > 0) & (size <= palette)
    return ~data & tf.where(
        colour == _PALETTE, of_palette, grey_16 | ((bits == 8) & (colour <= 2) & of_levels)
    )


def _number(digits: tf.Tensor, is_big: tf.Tensor | bool) -> tf.Tensor:
    """Turn bytes, uint8 [..., k], into whole numbers, int64 [...]."""
    places = 8 * tf.range(tf.shape(digits, tf.int64)[-1])
    places = tf.where(is_big, places[::-1], places)
    return tf.reduce_sum(tf.bitwise.left_shift(tf.cast(digits, tf.int64), places), axis=-1)


def _read_orientation(exif: tf.Tensor) -> tf.Tensor:
    """Return the orientation of an EXIF block, 1 .. 8, int64; 1 (upright) without a valid one.

    Reads what Pillow reads: of the first directory the last entry before one that leads out of the block.
    """
    block = tf.strings.regex_replace(exif, r"^(Exif\x00\x00)+", "")
    head = tf.strings.substr(block, 0, 4)
    # Those that Pillow takes for TIFF, wrong and half right ones among them.
    heads = (b"MM\x00*", b"II*\x00", b"MM*\x00", b"II\x00*", b"MM\x00+")
    is_tiff = tf.reduce_any(head == tf.constant(heads)) & (tf.strings.length(block) >= 8)
    return tf.cond(is_tiff, lambda: _tiff_orientation(block), lambda: _whole(1))


def _tiff_orientation(block: tf.Tensor) -> tf.Tensor:
    data = tf.io.decode_raw(block, tf.uint8)
    length = tf.size(data, tf.int64)
    is_big = tf.strings.substr(block, 0, 1) == b"M"
    first = _number(data[4:8], is_big) + 2
    count = _number(data[first - 2 : first], is_big)
    count = tf.clip_by_value(count, 0, tf.maximum(_whole(0), (length - first) // 12))
    entries = tf.reshape(data[first : first + 12 * count], (count, 12))
    tag, kind = _number(entries[:, :2], is_big), _number(entries[:, 2:4], is_big)
    values, offset = _number(entries[:, 4:8], is_big), _number(entries[:, 8:], is_big)
    unit = tf.gather(tf.constant(_UNIT_BYTES, tf.int64), tf.minimum(kind, len(_UNIT_BYTES) - 1))
    size = unit * values
    is_far = size > 4
    leads_out = is_far & (offset + size > length)
    is_read = tf.cumsum(tf.cast(leads_out, tf.int32)) == 0
    wanted = is_read & (tag == _EXIF_ORIENTATION) & (size > 0)
    which = tf.reduce_max(tf.where(wanted, tf.range(count), _whole(-1)))

    def value() -> tf.Tensor:
        place = tf.where(is_far[which], offset[which], first + 12 * which + 8)
        orientation = _number(data[place : place + unit[which]], is_big)
        is_whole = tf.reduce_any(kind[which] == tf.constant(_WHOLE_NUMBERS, tf.int64))
        is_one = is_whole & (orientation >= 1) & (orientation <= 8)
        return tf.where(is_one, orientation, _whole(1))

    return tf.cond(which >= 0, value, lambda: _whole(1))


def _turn_upright(pixels: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Turn pixels [height, width, C] by an EXIF orientation, 1 .. 8."""

    def is_one_of(*orientations: int) -> tf.Tensor:
        return tf.reduce_any(orientation == tf.constant(orientations, tf.int64))

    pixels = tf.cond(is_one_of(5, 6, 7, 8), lambda: tf.transpose(pixels, (1, 0, 2)), lambda: pixels)
    pixels = tf.cond(is_one_of(2, 3, 6, 7), lambda: pixels[:, ::-1], lambda: pixels)
    return tf.cond(is_one_of(3, 4, 7, 8), lambda: pixels[::-1], lambda: pixels)


def _lay_on_white(pixels: tf.Tensor) -> tf.Tensor:
    """Lay uint8 [height, width, C + 1], alpha last, on white: uint8 [height, width, C].

    Rounded as Pillow's `alpha_composite` does, AlphaComposite.c.
    """
    wide = tf.cast(pixels, tf.int32)
    colour, alpha = wide[..., :-1], wide[..., -1:]
    blended = (colour * alpha + 255 * (255 - alpha) + 128) * 128
    return tf.cast((blended // 256 + blended) // 256 // 128, tf.uint8)
