"""What is measured beside the tests: figures to plan by, too slow to be taken each time."""
