"""The command `ames-ray`: verbs, help, progress; results to stdout, everything else to stderr."""
