"""Kafka behind the `Log` and `Publisher` ports, and what tames its client."""
