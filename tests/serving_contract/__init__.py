"""TF Serving's wire contract as a table of cases, with a runner for any server's address."""
