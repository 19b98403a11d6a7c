"""Experiments of several commands and seeds: what is run, once, and the tables and pictures made of it."""
