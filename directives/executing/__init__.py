"""Executing: attempts at claimed directives, their retries and their failures."""
