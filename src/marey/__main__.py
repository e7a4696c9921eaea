"""`python -m marey` is the command `marey`."""

import sys

from marey.cli.main import main

sys.exit(main())
