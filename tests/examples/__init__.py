"""Tests of the examples for servers and bots."""
