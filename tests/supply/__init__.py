"""Checks of the supply chain: vulnerabilities and licences of the locked packages, by `make audit`."""
