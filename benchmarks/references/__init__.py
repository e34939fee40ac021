"""The straightforward implementations that ours are measured against, one file a subject."""
