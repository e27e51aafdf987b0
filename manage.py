#!/usr/bin/env python
"""The command line of the project."""

import os
import sys


def main() -> int:
    """Run the management command named in `sys.argv`; return its exit status."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "fleetprompt.settings")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line
    from django.db import OperationalError, ProgrammingError

    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        if "--traceback" in sys.argv:
            raise
        sys.stderr.write(f"Error: {error}\n")
        return 1
    except OperationalError as error:
        sys.stderr.write(f"Error: the database does not answer: {str(error).strip()}\n")
        return 1
    except ProgrammingError as error:
        from fleetprompt.cli.console import INSUFFICIENT_PRIVILEGE, lacks_right

        if getattr(error.__cause__, "sqlstate", "") != INSUFFICIENT_PRIVILEGE:
            raise
        sys.stderr.write(f"Error: {lacks_right(error)}\n")
        return 1
    except BrokenPipeError:
        # Whoever read the output has seen enough; Python would complain once more on its way out.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted.\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
