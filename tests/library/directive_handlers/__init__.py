"""The library's directives; they stand in one file because they all do the same."""
