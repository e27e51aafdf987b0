"""An app whose records have keys of other kinds than UUIDs; installed by the test settings only."""
