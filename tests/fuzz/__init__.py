"""Readers on damaged and hostile inputs, thousands of them: `make fuzz`, or `python -m tests.fuzz --help`.

Each input is a small sound one (tests/fuzz/seeds.py) that was changed at random (tests/fuzz/mutate.py), the
same way for the same seed and number. A reader may take it or refuse it, by one of Mirante's own errors with
exit code 2 or 3, within 5 seconds of CPU and 1 GiB of memory; anything else is a finding.
"""
