"""Tests of the speed comparison."""
