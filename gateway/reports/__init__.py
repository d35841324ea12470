"""What regulators receive: audit exports, replay, plain-word verdicts."""
