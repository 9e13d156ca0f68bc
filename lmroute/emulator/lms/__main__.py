"""``python -m lmroute.emulator.lms``."""

import sys

from lmroute.emulator.lms.commands import main

sys.exit(main())
