"""The configuration keys of no integration, the types of values, and the error sentences."""
