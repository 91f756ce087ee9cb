"""``python -m mtl_nlp``: the command line."""

import sys

from mtl_nlp.cli import main

if __name__ == "__main__":
    sys.exit(main())
