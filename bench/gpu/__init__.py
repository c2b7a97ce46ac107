"""Everything that is worth measuring on a GPU, in one call of at most ten minutes; see ``bench.gpu.__main__``."""
