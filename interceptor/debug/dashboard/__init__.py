"""The Grafana dashboard and the alert rules: values, and the forms in which they are printed."""
