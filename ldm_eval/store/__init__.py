"""Everything the core reads and writes on disk: samples, features, results, digests."""
