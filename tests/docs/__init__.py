"""Checks of the documents: examples, links, and the pages that are generated from the code."""
