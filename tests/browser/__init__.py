"""The admin in a real browser: the system's Chromium, a real web server, a real cluster."""
