"""Storage: append-only models, their triggers, and checks of both."""
