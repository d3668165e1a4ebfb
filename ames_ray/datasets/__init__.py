"""Image lists: folders, text lists and published data sets become one manifest that everything refers to."""
