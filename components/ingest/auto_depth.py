"""`data.bit_depth: auto`: the least number of bits that holds the largest value of all images of the data."""

from components.base.printable import printable
from components.ingest.bit_depth import AUTO, UPPER, find_depth
from components.ingest.config import IngestConfig
from components.ingest.examine import IN_COLOUR
from components.ingest.index import Index
from components.ingest.passes import Progress, examine_all
from components.ingest.workers import WorkerPool


def settle_depth(index: Index, pool: WorkerPool, progress: Progress, config: IngestConfig) -> IngestConfig:
    """Return the options with a number where `bit_depth` is auto, and tell it; others as they are.

    Images with 16 bits per channel are then compared with others as that number stores them.

    Args:
        index: All items are examined.
        pool: Worker processes.
        progress: See `ingest`.
        config: The options as they were given.
    """
    if config.bit_depth != AUTO:
        return config
    found = index.find_largest()
    largest, path = found or (0, "")
    depth = (find_depth(largest) or UPPER) if found else UPPER
    if found is None:
        why = "no image has 16 bits per channel"
    elif largest == IN_COLOUR:
        why = f"{printable(path)} has several channels of 16 bits, which no other number reads"
    else:
        why = f"the largest value is {largest:,} ({printable(path)})"
    index.warn(f"bit_depth auto: {depth}, {why}.")
    settled = config.model_copy(update={"bit_depth": depth})
    if config.near_copies:
        index.look_again(depth)
        examine_all(index, pool, progress, settled)
    return settled
