"""Figures of the networks that ship, measured and written into the documents that state them.

    python -m benchmarks.figures [--only NAME …]

A document marks the place of a table by `<!-- figures: NAME -->` and `<!-- end of figures -->`.
What lies between is made here, and nothing else is touched.
"""
