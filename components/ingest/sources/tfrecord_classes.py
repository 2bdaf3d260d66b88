"""Classes of tf.train.Examples, by their features with labels and with names, which must fit together."""

from components.base.errors import DataRefusedError
from components.ingest.item import Reject


class Classes:
    """The classes by two features of the records, which must fit together.

    Args:
        label: Name of the feature with labels.
        text: Name of the feature with names.
    """

    def __init__(self, label: str, text: str) -> None:
        self._label, self._text = label, text
        self._texts: dict[int, str] = {}
        self._labels: dict[str, int] = {}
        self._without_label = False
        self._has_texts: bool | None = None

    def name(self, label: int | None, text: str, where: str) -> str | Reject:
        """Return the class that a record with this label and text is of."""
        if label is None and not text:
            return Reject(where, f"unlabelled: neither {self._text} nor {self._label}")
        if self._has_texts is None:
            self._has_texts = bool(text)
        if self._has_texts and not text:
            return Reject(where, f"unlabelled: no {self._text}, which other records have")
        name = text if self._has_texts else str(label)
        if label is None:
            self._without_label = True
            return name
        if (known := self._texts.setdefault(label, name)) != name:
            raise DataRefusedError(
                f"{where}: {self._label} {label} stands for both {known!r} and {name!r}: these files do "
                "not belong together"
            )
        if (other := self._labels.setdefault(name, label)) != label:
            raise DataRefusedError(
                f"{where}: {self._text} {name!r} has both {self._label} {other} and {label}: "
                "these files do not belong together"
            )
        return name

    def in_order(self) -> list[str]:
        """Return all names by their labels; none if there are records without a label."""
        return [] if self._without_label else [self._texts[label] for label in sorted(self._texts)]
