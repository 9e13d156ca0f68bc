"""The rows of the table of rules, one module for what they are about."""
