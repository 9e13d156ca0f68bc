"""``python -m lmroute.cli``, for where the ``lmroute`` script is not on the path."""

import sys

from lmroute.cli import main

sys.exit(main())
