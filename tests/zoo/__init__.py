"""An app of handlers that do what handlers should not; installed by the test settings only."""
