"""The badly behaved handlers, one class each, in one module."""
