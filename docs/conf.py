"""Settings of Sphinx; `make docs` builds the pages, and a warning is an error."""

from ames_ray import __version__

project = "ames-ray"
version = release = __version__
copyright = "the ames-ray authors, Apache-2.0"  # noqa: A001 - Sphinx reads this name
extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = "ames-ray"
html_show_sphinx = False
# Nothing is loaded from elsewhere: the pages can be read without a network.
html_theme_options: dict[str, list[str]] = {"top_of_page_buttons": []}
exclude_patterns = ["_build"]
