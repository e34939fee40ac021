"""Speed of spikerec: ratios against the straightforward implementations of the field.

`python -m benchmarks` measures all; `--only NAME` some; `--quick` smaller ones. Each benchmark has
a reference, written by us the way public code of the field does the same, which gives the same
result; both run in turn in one process, so that a busy machine slows them alike.
"""

from spikerec.cli import limit_spinning

limit_spinning()  # as the command line does
