"""Hostile inputs for each parser: `make fuzz`, and a few examples in the fast suite."""
