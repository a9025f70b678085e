"""Tests of the explorers: traits and arrays."""
