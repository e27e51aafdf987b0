"""Directives about what every app has, such as restrictions."""
