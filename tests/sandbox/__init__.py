"""Tests of the pretend Avala API, one file for each of its modules or for what crosses several."""
