"""The demo: two sample communities, a spam wave, a heated thread, and what directives do about them."""
