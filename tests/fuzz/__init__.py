"""What strangers may hand to each parser: `make fuzz`, and a few examples in the fast suite."""
