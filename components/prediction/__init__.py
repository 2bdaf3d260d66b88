"""`mirante predict`: a pushed model asked about images."""
