"""The stages that finished speech passes: the pronunciation list, then the speller of `spelling`."""
