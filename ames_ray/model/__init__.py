"""The AMES network: its textbook form, its fast form, its files, and what re-rankers have in common."""
