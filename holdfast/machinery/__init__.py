"""Pure functions every kind shares: schemas and their walkers, patches, selectors, errors, tables."""
