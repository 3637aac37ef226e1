"""What is exported, how its graph may change, and what it would cost on a board."""
