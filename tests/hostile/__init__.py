"""Input that means harm, at every way in: it is refused clearly or stored as it is, and nothing breaks."""
