"""Telemetry: metrics, traces, and the context of log lines.

It depends on no app, so that all can use it. Its errors never stop the work that it observes.
"""
