"""Tests of `acsid`, the operator's command line."""
