"""The generators of findings, one module for what they look at. ``lmroute.validate.table`` lists them."""
