"""What the program tells about itself: metrics, traces, and what each line of the logs carries.

Nothing here knows of directives, signals or tenants, so that all of them can use it; and nothing that
goes wrong here stops or slows what they do.
"""
