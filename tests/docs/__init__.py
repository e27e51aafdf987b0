"""The documents, checked: their examples, their links, and the pages that are generated from the code."""
