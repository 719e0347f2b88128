"""The command lines: python -m launch.X."""
from launch import huge_pages

huge_pages.start_again()
