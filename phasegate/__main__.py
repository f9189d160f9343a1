"""`python -m phasegate` is the `phasegate` command."""

import sys

from phasegate.cli import main

sys.exit(main())
