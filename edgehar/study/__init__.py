"""Networks, corpora and folds crossed into Runs. Needs torch."""
