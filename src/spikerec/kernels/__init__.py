"""Compiled loops for the CPU, and the threads and memory that they need: arrays in, arrays out."""
