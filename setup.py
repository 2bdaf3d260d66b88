"""Kept for Apache Beam: its remote runners take the path of a `setup.py` (`--setup_file`).

Dataflow and Flink workers build a source distribution from it, so that they can import `components` and
`schemas`. The rest of the distribution is in `pyproject.toml`.
"""

from setuptools import setup

setup()
