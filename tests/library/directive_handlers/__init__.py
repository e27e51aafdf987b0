"""The library's directives, in one module because all do the same."""
