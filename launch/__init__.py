"""The command lines: python -m launch.X."""
import sys

from . import huge_pages

if sys.argv[:1] == ['-m']:  # python -m launch.X, before anything of X is imported
  huge_pages.start_again()
