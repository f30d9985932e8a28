"""A real Kafka, PostgreSQL and Jaeger for one machine, without containers."""
