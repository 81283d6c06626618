"""The parts from which configuration sections are made: types of values, shared keys, error sentences."""
