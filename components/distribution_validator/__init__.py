"""DistributionValidator: compares the train split with eval."""
